"""Every method of the contracts has an entry that says who may call it."""

from __future__ import annotations

from adiuva.connectors.v1 import admin_service_pb2, connection_service_pb2, message_service_pb2
from adiuva.orchestrator.v1 import agent_service_pb2, run_service_pb2
from adiuva_rpc.identity import methods_of
from connectors.policy import ADMIN_SERVICE, CONNECTION_SERVICE, MESSAGE_SERVICE, POLICY as CONNECTORS_POLICY
from orchestrator.policy import AGENT_SERVICE, POLICY, RUN_SERVICE


def test_every_method_of_the_orchestrator_has_a_policy() -> None:
    assert set(POLICY) == methods_of(agent_service_pb2, run_service_pb2)


def test_reflection_tells_about_every_service_of_the_orchestrator() -> None:
    assert {AGENT_SERVICE, RUN_SERVICE} == {method.split("/")[1] for method in POLICY}


def test_every_method_of_the_connectors_has_a_policy() -> None:
    assert set(CONNECTORS_POLICY) == methods_of(connection_service_pb2, message_service_pb2, admin_service_pb2)


def test_the_connectors_name_every_service_of_theirs() -> None:
    services = {CONNECTION_SERVICE, MESSAGE_SERVICE, ADMIN_SERVICE}
    assert services == {method.split("/")[1] for method in CONNECTORS_POLICY}
