from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.orchestrator.v1 import agent_pb2 as pb, agent_service_pb2 as service_pb
from adiuva.orchestrator.v1.agent_service_pb2_grpc import AgentServiceStub, add_AgentServiceServicer_to_server
from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.identity import Caller, Role
from adiuva_rpc.server import RpcServer
from adiuva_rpc.status import RpcFailure, from_rpc_error
from orchestrator.agents.domain import Schedule
from orchestrator.agents.service import AgentService
from orchestrator.agents.servicer import AgentServicer
from orchestrator.policy import POLICY
from tests.conformance.orchestrator.agents import an_agent
from tests.fakes.agents import InMemoryAgents

if TYPE_CHECKING:
    from adiuva.orchestrator.v1.agent_service_pb2_grpc import AgentServiceAsyncStub

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DEFINITION = pb.AgentDefinition(
    display_name="Clients",
    local_directory=pb.LocalDirectory(directory_paths=["clients/acme"], file_extensions=[".md"]),
    data_types=[pb.DATA_TYPE_TASKS, pb.DATA_TYPE_NOTES],
)
DAILY = pb.Schedule(cron="0 9 * * *", time_zone="Europe/Rome")


class Tokens:
    """Knows the callers of these tests: the token is the user's name, or `service`."""

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        if credential == "service":
            return Caller(role=Role.SERVICE, name="planner")
        return Caller(role=Role.USER, name=credential, user_id=credential)


class Bench:
    """The servicer behind a real server."""

    def __init__(self) -> None:
        self.store = InMemoryAgents()
        self._server = RpcServer(
            address=ListenAddress("127.0.0.1", 0), policy=POLICY, authenticator=Tokens(), with_health=False
        )
        service = AgentService(self.store, now=lambda: NOW)
        add_AgentServiceServicer_to_server(AgentServicer(service), self._server.grpc)
        self._channels: list[grpc.aio.Channel] = []

    def stub(self, caller: str = "anna", user: str | None = None) -> AgentServiceAsyncStub:
        channel = connect(f"127.0.0.1:{self._server.port}", authorization=bearer(caller), user=user)
        self._channels.append(channel)
        return AgentServiceStub(channel)

    async def __aenter__(self) -> Bench:
        await self._server.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for channel in self._channels:
            await channel.close()
        await self._server.stop(grace=0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


def new_id() -> str:
    return str(uuid.uuid4())


def creation(**fields: object) -> service_pb.CreateAgentRequest:
    usual = {"request_id": new_id(), "definition": DEFINITION, "schedule": DAILY}
    return service_pb.CreateAgentRequest(**usual | fields)  # type: ignore[arg-type] # fields of the request


async def refusal(call: Awaitable[object]) -> RpcFailure:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return from_rpc_error(failed.value)


async def test_an_agent_lives_from_its_creation_to_its_end(bench: Bench) -> None:
    stub = bench.stub()

    created = (await stub.CreateAgent(creation())).agent
    paused = (
        await stub.PauseAgent(
            service_pb.PauseAgentRequest(request_id=new_id(), agent_id=created.agent_id, reason="Holidays")
        )
    ).agent
    resumed = (
        await stub.ResumeAgent(service_pb.ResumeAgentRequest(request_id=new_id(), agent_id=created.agent_id))
    ).agent
    updated = (
        await stub.UpdateAgent(
            service_pb.UpdateAgentRequest(
                request_id=new_id(),
                agent_id=created.agent_id,
                definition=pb.AgentDefinition(prompt_template="Be brief."),
                update_mask=FieldMask(paths=["definition.prompt_template", "schedule"]),
                etag=resumed.etag,
            )
        )
    ).agent
    read = (await stub.GetAgent(service_pb.GetAgentRequest(agent_id=created.agent_id))).agent
    await stub.DeleteAgent(
        service_pb.DeleteAgentRequest(request_id=new_id(), agent_id=created.agent_id, etag=read.etag)
    )

    assert created.user_id == "anna"
    assert created.definition.display_name == "Clients"
    assert created.definition.budgets.max_model_calls == 200
    assert created.next_run_at.ToDatetime(tzinfo=UTC) == datetime(2026, 7, 2, 7, tzinfo=UTC)
    assert (paused.paused, paused.pause_reason, paused.HasField("next_run_at")) == (True, "Holidays", False)
    assert resumed.HasField("next_run_at")
    assert (updated.definition.prompt_template, updated.HasField("schedule")) == ("Be brief.", False)
    assert updated.definition.local_directory == created.definition.local_directory
    assert read == updated
    gone = await refusal(stub.GetAgent(service_pb.GetAgentRequest(agent_id=created.agent_id)))
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_the_same_request_gets_the_same_answer_and_another_one_a_refusal(bench: Bench) -> None:
    stub, request = bench.stub(), creation()

    first = await stub.CreateAgent(request)
    again = await stub.CreateAgent(request)
    other = await refusal(stub.CreateAgent(creation(request_id=request.request_id, schedule=None)))

    assert again == first
    assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_a_request_id_is_the_same_in_either_case(bench: Bench) -> None:
    stub, request = bench.stub(), creation()
    await stub.CreateAgent(request)

    loud = await refusal(stub.CreateAgent(creation(request_id=request.request_id.upper(), schedule=None)))

    assert loud.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("request_of", "field"),
    [
        ({"request_id": ""}, "request_id"),
        ({"definition": None}, "definition.source"),
        ({"schedule": pb.Schedule(cron="0 0 30 2 *")}, "schedule.cron"),
        ({"schedule": pb.Schedule(cron="0 9 * * *", time_zone="Rome")}, "schedule.time_zone"),
        (
            {"definition": pb.AgentDefinition(display_name="x", local_directory=pb.LocalDirectory())},
            "definition.local_directory.directory_paths",
        ),
    ],
)
async def test_a_wrong_field_is_named(bench: Bench, request_of: dict[str, object], field: str) -> None:
    failure = await refusal(bench.stub().CreateAgent(creation(**request_of)))

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message.startswith(f"{field}: ")


async def test_every_mutation_needs_a_request_id(bench: Bench) -> None:
    stub = bench.stub()
    agent_id = (await stub.CreateAgent(creation())).agent.agent_id
    mask = FieldMask(paths=["schedule"])

    for call in (
        stub.UpdateAgent(service_pb.UpdateAgentRequest(agent_id=agent_id, update_mask=mask)),
        stub.DeleteAgent(service_pb.DeleteAgentRequest(agent_id=agent_id)),
        stub.PauseAgent(service_pb.PauseAgentRequest(agent_id=agent_id)),
        stub.ResumeAgent(service_pb.ResumeAgentRequest(agent_id=agent_id)),
    ):
        assert (await refusal(call)).message.startswith("request_id: ")


async def test_every_method_needs_the_agents_id(bench: Bench) -> None:
    stub, mask = bench.stub(), FieldMask(paths=["schedule"])

    for call in (
        stub.GetAgent(service_pb.GetAgentRequest()),
        stub.UpdateAgent(service_pb.UpdateAgentRequest(request_id=new_id(), update_mask=mask)),
        stub.DeleteAgent(service_pb.DeleteAgentRequest(request_id=new_id())),
        stub.PauseAgent(service_pb.PauseAgentRequest(request_id=new_id())),
        stub.ResumeAgent(service_pb.ResumeAgentRequest(request_id=new_id())),
        stub.PreviewSchedule(service_pb.PreviewScheduleRequest(agent_id="")),
    ):
        assert (await refusal(call)).message.startswith("agent_id: ")


async def test_a_stale_etag_is_aborted(bench: Bench) -> None:
    stub = bench.stub()
    agent_id = (await stub.CreateAgent(creation())).agent.agent_id

    update = service_pb.UpdateAgentRequest(
        request_id=new_id(), agent_id=agent_id, update_mask=FieldMask(paths=["schedule"]), etag="another"
    )
    failure = await refusal(stub.UpdateAgent(update))

    assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "AGENT_ETAG_STALE")


async def test_a_client_agent_id_belongs_to_one_agent_of_a_user(bench: Bench) -> None:
    definition = pb.AgentDefinition()
    definition.CopyFrom(DEFINITION)
    definition.client_agent_id = new_id()
    await bench.stub().CreateAgent(creation(definition=definition))
    definition.client_agent_id = definition.client_agent_id.upper()

    failure = await refusal(bench.stub().CreateAgent(creation(definition=definition)))
    theirs = await bench.stub("berta").CreateAgent(creation(definition=definition))

    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CLIENT_AGENT_ID_TAKEN")
    assert theirs.agent.user_id == "berta"


async def test_checking_only_answers_what_would_be_stored(bench: Bench) -> None:
    stub = bench.stub()

    checked = (await stub.CreateAgent(creation(validate_only=True))).agent

    assert (checked.agent_id, checked.definition.display_name) == ("", "Clients")
    assert checked.HasField("next_run_at")
    assert not (await stub.ListAgents(service_pb.ListAgentsRequest())).agents


async def test_a_list_goes_on_with_its_token_and_only_with_its_own(bench: Bench) -> None:
    for number in range(5):
        bench.store.put(an_agent("anna", created_at=NOW + timedelta(seconds=number)))
    stub = bench.stub()

    seen, token = [], ""
    while True:
        page = await stub.ListAgents(service_pb.ListAgentsRequest(page_size=2, page_token=token))
        seen += [agent.create_time.ToDatetime(tzinfo=UTC) for agent in page.agents]
        if not page.next_page_token:
            break
        token = page.next_page_token

    assert seen == [NOW + timedelta(seconds=number) for number in (4, 3, 2, 1, 0)]
    foreign = await refusal(bench.stub("berta").ListAgents(service_pb.ListAgentsRequest(page_token=token)))
    assert foreign.message.startswith("page_token: ")


async def test_a_list_of_large_agents_is_cut_below_the_size_of_a_message(bench: Bench) -> None:
    large = an_agent("anna")
    definition = type(large.definition)(
        display_name="Large",
        source=large.definition.source,
        data_types=large.definition.data_types,
        prompt_template="\N{GRINNING FACE}" * 8_000,
    )
    for _ in range(150):
        bench.store.put(an_agent("anna", definition=definition))
    stub = bench.stub()

    first = await stub.ListAgents(service_pb.ListAgentsRequest(page_size=1000))
    rest = await stub.ListAgents(service_pb.ListAgentsRequest(page_size=1000, page_token=first.next_page_token))

    assert 0 < len(first.agents) < 150
    assert len({agent.agent_id for agent in [*first.agents, *rest.agents]}) == 150
    assert not rest.next_page_token


async def test_a_preview_of_an_agent_and_of_a_schedule(bench: Bench) -> None:
    stub = bench.stub()
    agent_id = (await stub.CreateAgent(creation())).agent.agent_id

    of_agent = await stub.PreviewSchedule(service_pb.PreviewScheduleRequest(agent_id=agent_id))
    after = Timestamp()
    after.FromDatetime(datetime(2026, 3, 28, 12, tzinfo=UTC))
    of_schedule = await stub.PreviewSchedule(
        service_pb.PreviewScheduleRequest(
            schedule=pb.Schedule(cron="30 2 * * *", time_zone="Europe/Rome"), count=2, after=after
        )
    )

    assert len(of_agent.firings) == 10
    assert [firing.local_time for firing in of_schedule.firings] == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


async def test_a_preview_without_a_schedule_is_refused(bench: Bench) -> None:
    stub = bench.stub()
    agent_id = (await stub.CreateAgent(creation(schedule=None))).agent.agent_id
    broken = an_agent("anna", schedule=Schedule(cron="never"))
    bench.store.put(broken)

    none = await refusal(stub.PreviewSchedule(service_pb.PreviewScheduleRequest(agent_id=agent_id)))
    invalid = await refusal(stub.PreviewSchedule(service_pb.PreviewScheduleRequest(agent_id=broken.agent_id)))
    nothing = await refusal(stub.PreviewSchedule(service_pb.PreviewScheduleRequest()))

    assert (none.code, none.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_SCHEDULE")
    assert (invalid.code, invalid.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SCHEDULE_INVALID")
    assert nothing.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_schedule_that_went_bad_shows_in_its_agent(bench: Bench) -> None:
    broken = an_agent("anna", schedule=Schedule(cron="0 9 * * *", time_zone="Mars/Base"))
    bench.store.put(broken)

    agent = (await bench.stub().GetAgent(service_pb.GetAgentRequest(agent_id=broken.agent_id))).agent

    assert agent.schedule_problem.startswith("time_zone: ")
    assert agent.schedule.time_zone == "Mars/Base"
    assert not agent.HasField("next_run_at")


async def test_an_agent_of_another_user_is_not_found(bench: Bench) -> None:
    agent_id = (await bench.stub().CreateAgent(creation())).agent.agent_id

    failure = await refusal(bench.stub("berta").GetAgent(service_pb.GetAgentRequest(agent_id=agent_id)))

    assert failure.code is grpc.StatusCode.NOT_FOUND


async def test_a_service_acts_for_the_user_it_names_and_must_name_one(bench: Bench) -> None:
    created = (await bench.stub("service", user="anna").CreateAgent(creation())).agent

    assert created.user_id == "anna"
    mine = await bench.stub("anna").ListAgents(service_pb.ListAgentsRequest())
    assert [agent.agent_id for agent in mine.agents] == [created.agent_id]
    nobody = await refusal(bench.stub("service").ListAgents(service_pb.ListAgentsRequest()))
    assert nobody.reason == "USER_REQUIRED"
    wrong = await refusal(bench.stub("anna", user="berta").ListAgents(service_pb.ListAgentsRequest()))
    assert wrong.code is grpc.StatusCode.PERMISSION_DENIED
