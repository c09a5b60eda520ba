"""Tables that must be whole: who may call what, and which status an error has."""

from __future__ import annotations

import grpc
import pytest

from adiuva.device_bridge.v1 import device_service_pb2, session_service_pb2, tool_pb2, tool_service_pb2
from adiuva_rpc.errors import AdiuvaError, leaf_classes
from adiuva_rpc.identity import Role, methods_of
from device_bridge.server import errors
from device_bridge.server.devices.conversion import _PRESENCE_KINDS
from device_bridge.server.devices.domain import EffectClass, PresenceKind
from device_bridge.server.policy import DEVICE_POLICY, DEVICE_SERVICE, INTERNAL_POLICY, TOOL_SERVICE
from device_bridge.server.routing.domain import Delivery, OfflinePolicy
from device_bridge.server.sessions.conversion import CLOSE_REASONS
from device_bridge.server.sessions.domain import CloseReason
from device_bridge.server.settings import BridgeSettings
from device_bridge.server.status import STATUSES


def test_every_method_has_a_policy() -> None:
    assert set(DEVICE_POLICY) == methods_of(session_service_pb2)
    assert set(INTERNAL_POLICY) == methods_of(device_service_pb2, tool_service_pb2)


def test_reflection_tells_about_every_service_of_the_internal_port() -> None:
    assert {TOOL_SERVICE, DEVICE_SERVICE} == {method.split("/")[1] for method in INTERNAL_POLICY}


def test_no_device_may_call_the_internal_port_and_nobody_else_the_device_port() -> None:
    assert set().union(*INTERNAL_POLICY.values()) == {Role.SERVICE, Role.USER}
    assert set().union(*DEVICE_POLICY.values()) == {Role.DEVICE, Role.ENROLLING}


def test_every_error_has_a_status() -> None:
    assert STATUSES.missing() == set()


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("DEVICE_OFFLINE", grpc.StatusCode.UNAVAILABLE),
        ("DEVICE_UNKNOWN", grpc.StatusCode.NOT_FOUND),
        ("DEVICE_LOST", grpc.StatusCode.UNAVAILABLE),
        ("CALL_TIMEOUT", grpc.StatusCode.DEADLINE_EXCEEDED),
        ("CALL_CANCELLED", grpc.StatusCode.CANCELLED),
        ("TOO_MANY_CALLS", grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("CALL_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS),
        ("BRIDGE_STOPPING", grpc.StatusCode.UNAVAILABLE),
        ("SESSION_SUPERSEDED", grpc.StatusCode.ABORTED),
        ("HELLO_MISSING", grpc.StatusCode.DEADLINE_EXCEEDED),
        ("FRAME_MALFORMED", grpc.StatusCode.INVALID_ARGUMENT),
        ("PROTOCOL_UNSUPPORTED", grpc.StatusCode.FAILED_PRECONDITION),
        ("DEVICE_REVOKED", grpc.StatusCode.PERMISSION_DENIED),
        ("ENROLMENT_CODE_REFUSED", grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_the_contracts_name_these_codes(reason: str, code: grpc.StatusCode) -> None:
    classes = [cls for cls in leaf_classes(AdiuvaError) if cls.__module__ == errors.__name__ and cls.reason == reason]

    assert [STATUSES[cls] for cls in classes] == [code]


def test_names_of_the_domain_are_names_of_the_contract() -> None:
    assert {f"CLOSE_REASON_{reason.name}" for reason in CloseReason} | {"CLOSE_REASON_UNSPECIFIED"} == set(
        session_service_pb2.CloseReason.keys()
    )
    assert set(CLOSE_REASONS) == set(CloseReason)
    assert {f"EFFECT_CLASS_{effect.name}" for effect in EffectClass} | {"EFFECT_CLASS_UNSPECIFIED"} == set(
        tool_pb2.EffectClass.keys()
    )
    assert {f"DELIVERY_{each.name}" for each in Delivery} | {"DELIVERY_UNSPECIFIED"} == set(tool_pb2.Delivery.keys())
    assert {f"OFFLINE_POLICY_{each.name}" for each in OfflinePolicy} | {"OFFLINE_POLICY_UNSPECIFIED"} == set(
        tool_pb2.OfflinePolicy.keys()
    )
    assert set(_PRESENCE_KINDS) == set(PresenceKind)


def test_a_lease_outlives_a_missed_renewal() -> None:
    settings = BridgeSettings(database_url="postgresql+asyncpg://x/y", token_file="/t")  # type: ignore[arg-type]  # as read

    assert settings.lease_seconds > 2 * settings.bridge_heartbeat_seconds
    assert settings.replica.endswith(":7002")
