"""Schedules in memory: `schedules.ports.Schedules`, passes the same conformance suite as the real one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from orchestrator.agents.domain import Agent, LostSlots
from orchestrator.agents.ports import Mutation
from orchestrator.runs.domain import Run, RunState, Trigger
from orchestrator.schedules.decisions import Candidate, Decision, Lost, bound_device, failures_after, pauses
from orchestrator.schedules.ports import Claim, Decide, Decided
from orchestrator.schedules.timing import Timing, timing_after
from tests.fakes.agents import InMemoryAgents

ROOM = 100


@dataclass(slots=True)
class _Time:
    next_due_at: datetime | None = None
    served_until: datetime | None = None


class InMemorySchedules(InMemoryAgents):
    """Agents, their times and their runs. Nothing here waits, so each method is one step, as a transaction is."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, Run] = {}
        """In the order in which they were started."""
        self.claims = 0
        self._times: dict[str, _Time] = {}
        self._counted: set[str] = set()

    @property
    def schedules(self) -> InMemorySchedules:
        return self

    @property
    def agents(self) -> InMemorySchedules:
        return self

    async def add(self, mutation: Mutation, agent: Agent, *, validate_only: bool = False) -> Agent:
        added = await super().add(mutation, agent, validate_only=validate_only)
        if not validate_only and agent.agent_id not in self._times:
            self._times[agent.agent_id] = _Time()
            self._set(agent.agent_id, timing_after(None, agent))
        return added

    async def change(
        self, mutation: Mutation, agent_id: str, change: Callable[[Agent], Agent], *, validate_only: bool = False
    ) -> Agent:
        before = await self.get(mutation.user_id, agent_id)
        after = await super().change(mutation, agent_id, change, validate_only=validate_only)
        timing = timing_after(before, after)
        if timing is not None and not validate_only:
            self._set(agent_id, timing)
            after = replace(after, waits_for_device=False)
            self.put(after)
        return after

    async def claim_due(self, now: datetime, decide: Decide, *, limit: int) -> Claim:
        self.claims += 1
        due = [
            (time.next_due_at, agent_id)
            for agent_id, time in self._times.items()
            if agent_id in self._agents and time.next_due_at is not None and time.next_due_at <= now
        ]
        chosen = [agent_id for _at, agent_id in sorted(due)[:limit]]
        return self._claim(chosen, decide, limit, now, Trigger.SCHEDULE)

    async def claim_overdue(
        self, users: Collection[str], now: datetime, decide: Decide, *, limit: int, after: str = ""
    ) -> Claim:
        chosen = sorted(
            agent.agent_id
            for agent in self._agents.values()
            if agent.user_id in users and agent.agent_id > after and self._overdue(agent, now)
        )[:limit]
        return self._claim(chosen, decide, limit, now, Trigger.DEVICE_CONNECTED)

    async def next_due(self) -> datetime | None:
        times = [time.next_due_at for agent_id, time in self._times.items() if agent_id in self._agents]
        return min((time for time in times if time is not None), default=None)

    async def run_ended(self, run_id: str) -> None:
        run = self.runs.get(run_id)
        if run is None or not run.state.terminal or run_id in self._counted:
            return
        self._counted.add(run_id)
        agent = self._agents.get(run.agent_id)
        if agent is None:
            return
        failures = failures_after(agent.failures_in_a_row, run.state)
        agent = replace(agent, failures_in_a_row=failures)
        if run.state is RunState.FAILED and pauses(agent.schedule, failures):
            reason = f"Paused after {failures} failed runs in a row."
            agent = replace(agent, paused=True, pause_reason=reason, etag=str(uuid.uuid4()))
            self._times[agent.agent_id].next_due_at = None
        self.put(agent)

    async def runs_of(self, agent_id: str) -> list[Run]:
        return [run for run in self.runs.values() if run.agent_id == agent_id]

    async def end_run(self, run_id: str, state: RunState) -> None:
        self.runs[run_id] = replace(self.runs[run_id], state=state)

    async def begin_run(self, run_id: str) -> None:
        self.runs[run_id] = replace(self.runs[run_id], state=RunState.RUNNING)

    def _overdue(self, agent: Agent, now: datetime) -> bool:
        time = self._times[agent.agent_id]
        due = time.next_due_at is not None and time.next_due_at <= now
        able = agent.schedule is not None and not agent.paused
        return able and (agent.waits_for_device or due or time.served_until is None)

    def _claim(self, chosen: list[str], decide: Decide, limit: int, now: datetime, trigger: Trigger) -> Claim:
        decided = []
        for agent_id in chosen:
            candidate = self._candidate(self._agents[agent_id])
            decision = decide(candidate)
            if decision is not None:
                self._carry_out(candidate, decision, now, trigger)
                decided.append(Decided(candidate=candidate, decision=decision))
        return Claim(decided=tuple(decided), more_after=chosen[-1] if len(chosen) == limit else "")

    def _candidate(self, agent: Agent) -> Candidate:
        mine = [run for run in self.runs.values() if run.agent_id == agent.agent_id and not run.state.terminal]
        waiting = [run for run in self.runs.values() if run.user_id == agent.user_id and run.state is RunState.QUEUED]
        return Candidate(
            agent_id=agent.agent_id,
            user_id=agent.user_id,
            device_id=bound_device(agent.definition.source),
            schedule=agent.schedule,
            schedule_problem=agent.schedule_problem,
            served_until=self._times[agent.agent_id].served_until,
            created_at=agent.created_at,
            under_way=tuple((run.run_id, run.state) for run in mine),
            room=ROOM - len(waiting),
        )

    def _carry_out(self, candidate: Candidate, decision: Decision, now: datetime, trigger: Trigger) -> None:
        agent, time = self._agents[candidate.agent_id], self._times[candidate.agent_id]
        for run_id in decision.cancel:
            waiting = self.runs[run_id].state is RunState.QUEUED
            state = RunState.CANCELLED if waiting else self.runs[run_id].state
            self.runs[run_id] = replace(self.runs[run_id], state=state, cancel_requested=True, cancel_reason="newer")
        if decision.fire is not None:
            slot = decision.fire.slot
            run = Run(
                run_id=f"{agent.agent_id}/{slot.astimezone(UTC).isoformat()}",
                user_id=agent.user_id,
                agent_id=agent.agent_id,
                definition=agent.definition,
                trigger=trigger,
                state=RunState.QUEUED,
                created_at=now,
                slot_time=slot,
            )
            assert run.run_id not in self.runs, "a slot was fired twice"
            self.runs[run.run_id] = run
            agent = replace(agent, last_run_at=now)
        time.next_due_at = decision.next_due_at
        time.served_until = decision.served_until or time.served_until
        self.put(
            replace(
                agent,
                waits_for_device=decision.waits_for_device,
                missed=_more(agent.missed, decision.missed),
                skipped=_more(agent.skipped, decision.skipped),
            )
        )

    def _set(self, agent_id: str, timing: Timing | None) -> None:
        if timing is None:
            return
        time = self._times[agent_id]
        time.next_due_at = timing.next_due_at
        if timing.served_until is not None:
            time.served_until = max(timing.served_until, time.served_until or timing.served_until)


def _more(before: LostSlots, lost: Lost | None) -> LostSlots:
    if lost is None:
        return before
    return LostSlots(count=before.count + lost.count, last_reason=lost.reason, last_slot=lost.slot)
