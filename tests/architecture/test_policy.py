"""Every method of the contracts has an entry that says who may call it."""

from __future__ import annotations

from adiuva.orchestrator.v1 import agent_service_pb2, run_service_pb2
from adiuva_rpc.identity import methods_of
from orchestrator.policy import AGENT_SERVICE, POLICY, RUN_SERVICE


def test_every_method_of_the_orchestrator_has_a_policy() -> None:
    assert set(POLICY) == methods_of(agent_service_pb2, run_service_pb2)


def test_reflection_tells_about_every_service_of_the_orchestrator() -> None:
    assert {AGENT_SERVICE, RUN_SERVICE} == {method.split("/")[1] for method in POLICY}
