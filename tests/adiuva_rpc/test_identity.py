"""Who calls, and what they may call."""

from __future__ import annotations

import asyncio

import pytest
from grpc_health.v1 import health_pb2

from adiuva_rpc.errors import Internal, InvalidArgument, PermissionDenied, Unauthenticated
from adiuva_rpc.identity import (
    ANYONE,
    AUTHENTICATED,
    USER_HEADER,
    Caller,
    Gate,
    Metadata,
    Policy,
    Role,
    UserRequired,
    WrongUser,
    acting_as,
    current_caller,
    methods_of,
    only,
    user_for,
)
from tests.adiuva_rpc.probe import ANNA, BRIDGE, REVOKED, KnownTokens

SERVICE = Caller(role=Role.SERVICE, name="orchestrator")
USER = Caller(role=Role.USER, name="anna", user_id="anna")
DEVICE = Caller(role=Role.DEVICE, name="laptop", user_id="anna", device_id="laptop")
ENROLLING = Caller(role=Role.ENROLLING, name="enrolling", code="CODE-1234")

POLICY: Policy = {"/s/Any": ANYONE, "/s/Known": AUTHENTICATED, "/s/Service": only(Role.SERVICE), "/s/None": only()}


def bearing(token: str, *more: tuple[str, str]) -> Metadata:
    return (("authorization", f"Bearer {token}"), *more)


class TestWhomACallIsFor:
    @pytest.mark.parametrize("caller", [USER, DEVICE])
    def test_a_bound_caller_may_leave_the_user_out_or_name_its_own(self, caller: Caller) -> None:
        assert user_for(caller) == "anna"
        assert user_for(caller, "anna") == "anna"

    @pytest.mark.parametrize("caller", [USER, DEVICE])
    def test_a_bound_caller_that_names_another_is_denied(self, caller: Caller) -> None:
        with pytest.raises(WrongUser):
            user_for(caller, "bob")

    def test_a_service_names_the_user_in_the_request_or_the_metadata(self) -> None:
        acting = Caller(role=Role.SERVICE, name="orchestrator", acting_for="anna")

        assert user_for(SERVICE, "bob") == "bob"
        assert user_for(acting) == "anna"
        assert user_for(acting, "anna") == "anna"

    def test_a_service_that_names_nobody_is_told_how(self) -> None:
        with pytest.raises(UserRequired, match=USER_HEADER) as caught:
            user_for(SERVICE)
        assert caught.value.reason == "USER_REQUIRED"

    def test_a_service_that_names_two_users_is_denied(self) -> None:
        with pytest.raises(WrongUser, match="different users"):
            user_for(Caller(role=Role.SERVICE, name="orchestrator", acting_for="anna"), "bob")

    @pytest.mark.parametrize("caller", [ENROLLING, Caller(role=Role.ANONYMOUS, name="anonymous")])
    def test_who_is_nobody_yet_acts_for_nobody(self, caller: Caller) -> None:
        with pytest.raises(PermissionDenied):
            user_for(caller, "anna")


class TestTheGate:
    async def test_a_method_missing_from_the_table_is_refused(self) -> None:
        with pytest.raises(PermissionDenied, match="not in the server's policy table"):
            await Gate(POLICY, KnownTokens()).admit("/s/Forgotten", bearing(BRIDGE))

    async def test_an_entry_without_roles_is_for_nobody(self) -> None:
        with pytest.raises(PermissionDenied):
            await Gate(POLICY, KnownTokens()).admit("/s/None", bearing(BRIDGE))

    async def test_anyone_may_call_what_is_open_even_with_a_bad_credential(self) -> None:
        gate = Gate(POLICY, KnownTokens())

        assert (await gate.admit("/s/Any", ())).role is Role.ANONYMOUS
        assert (await gate.admit("/s/Any", bearing("wrong"))).role is Role.ANONYMOUS

    async def test_a_role_that_is_not_in_the_entry_is_denied(self) -> None:
        gate = Gate(POLICY, KnownTokens())

        assert (await gate.admit("/s/Service", bearing(BRIDGE))).name == "bridge"
        with pytest.raises(PermissionDenied, match="role USER"):
            await gate.admit("/s/Service", bearing(ANNA))

    async def test_an_enrolling_caller_is_not_an_authenticated_one(self) -> None:
        with pytest.raises(PermissionDenied):
            await Gate(POLICY, KnownTokens()).admit("/s/Known", (("authorization", "Enrolment CODE-1234"),))

    async def test_the_scheme_is_read_in_any_case(self) -> None:
        caller = await Gate(POLICY, KnownTokens()).admit("/s/Known", (("authorization", f"BEARER {ANNA}"),))

        assert caller.user_id == "anna"

    async def test_an_authenticator_may_deny_with_its_own_words(self) -> None:
        with pytest.raises(PermissionDenied, match="revoked"):
            await Gate(POLICY, KnownTokens()).admit("/s/Known", bearing(REVOKED))

    async def test_whom_a_caller_acts_for_is_kept(self) -> None:
        caller = await Gate(POLICY, KnownTokens()).admit("/s/Known", bearing(BRIDGE, (USER_HEADER, "anna")))

        assert caller.acting_for == "anna"

    @pytest.mark.parametrize("values", [("",), (" ",), ("x" * 129,), ("anna", "bob")])
    async def test_an_unreadable_user_is_an_invalid_argument(self, values: tuple[str, ...]) -> None:
        metadata = bearing(BRIDGE, *((USER_HEADER, value) for value in values))

        with pytest.raises(InvalidArgument, match=USER_HEADER):
            await Gate(POLICY, KnownTokens()).admit("/s/Known", metadata)

    @pytest.mark.parametrize(
        ("uri", "caller"),
        [
            ("spiffe://adiuva/service/bridge", Caller(role=Role.SERVICE, name="bridge")),
            ("spiffe://adiuva/user/anna%20b", Caller(role=Role.USER, name="anna b", user_id="anna b")),
            ("spiffe://adiuva/device/anna/laptop", DEVICE),
        ],
    )
    async def test_a_certificate_names_a_caller(self, uri: str, caller: Caller) -> None:
        assert await Gate(POLICY, KnownTokens()).admit("/s/Known", (), ["https://elsewhere/x", uri]) == caller

    @pytest.mark.parametrize(
        "uris",
        [
            ["spiffe://adiuva/service"],
            ["spiffe://adiuva/service/"],
            ["spiffe://adiuva/device/laptop"],
            ["spiffe://adiuva/enrolling/x"],
            ["spiffe://adiuva"],
            ["spiffe://adiuva.example/service/bridge"],
            ["spiffe://adiuva/service/a", "spiffe://adiuva/service/b"],
        ],
    )
    async def test_a_certificate_that_is_unclear_names_nobody(self, uris: list[str]) -> None:
        with pytest.raises(Unauthenticated):
            await Gate(POLICY, KnownTokens()).admit("/s/Known", (), uris)

    async def test_a_certificate_and_a_token_of_different_callers_are_refused(self) -> None:
        gate = Gate(POLICY, KnownTokens())

        with pytest.raises(Unauthenticated):
            await gate.admit("/s/Known", bearing(ANNA), ["spiffe://adiuva/user/bob"])
        with pytest.raises(Unauthenticated):
            await gate.admit("/s/Known", bearing(ANNA), ["spiffe://adiuva/device/anna/laptop"])
        assert (await gate.admit("/s/Known", bearing(ANNA), ["spiffe://adiuva/user/anna"])).user_id == "anna"


def test_methods_come_from_the_descriptors() -> None:
    assert methods_of(health_pb2) >= {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"}


async def test_the_caller_is_known_inside_the_block_and_its_tasks_only() -> None:
    async def inner() -> Caller:
        return current_caller()

    with acting_as(USER):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(inner())
        assert task.result() == USER
    with pytest.raises(Internal):
        current_caller()


def test_a_caller_does_not_show_its_code() -> None:
    assert "CODE-1234" not in repr(ENROLLING)
