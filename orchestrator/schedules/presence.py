"""Which devices are connected, as far as this process knows; and what starts when one connects."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from itertools import islice

import structlog

from adiuva_rpc.errors import Unavailable
from orchestrator.runs.domain import Trigger
from orchestrator.runs.ports import DeviceInfo
from orchestrator.schedules.decisions import Candidate, Decision, decide_or_postpone, schedule_problem
from orchestrator.schedules.ports import Clock, Devices, Meter, Schedules, Sight

USERS_AT_A_TIME = 50
AGENTS_AT_A_TIME = 100
RETRY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Presence:
    """The connected devices of each user. Kept by the trigger, asked by whoever decides."""

    def __init__(self) -> None:
        self._online: defaultdict[str, dict[str, datetime | None]] = defaultdict(dict)
        self._known = asyncio.Event()

    def online(self, user_id: str, device_id: str) -> bool | None:
        """Return whether the device, or for an empty id any device of the user, is connected; None when unknown."""
        if not self._known.is_set():
            return None
        devices = self._online.get(user_id, {})
        return device_id in devices if device_id else bool(devices)

    async def known(self) -> None:
        """Wait until it is known what is connected."""
        await self._known.wait()

    def lose(self) -> None:
        """Forget everything: nobody knows what is connected."""
        self._known.clear()
        self._online.clear()

    def complete(self) -> list[str]:
        """Everything has been told; return the users who have a connected device."""
        self._known.set()
        return list(self._online)

    def see(self, device: DeviceInfo) -> bool:
        """Note how a device stands, and return whether a session of it is new."""
        devices = self._online[device.user_id]
        if not device.online:
            devices.pop(device.device_id, None)
            if not devices:
                del self._online[device.user_id]
            return False
        new = device.device_id not in devices or devices[device.device_id] != device.connected_at
        devices[device.device_id] = device.connected_at
        return new and self._known.is_set()


class PresenceTrigger:
    """Starts what is overdue when a device connects.

    Every replica sees every device, and all of them try: the first one finds something overdue, the others nothing.
    What is known is noted before anything is claimed, so an agent that somebody parks meanwhile for want of a device is
    found by the replica that parked it, as soon as that replica sees the device.
    """

    def __init__(
        self, *, schedules: Schedules, devices: Devices, presence: Presence, clock: Clock, meter: Meter
    ) -> None:
        self._schedules = schedules
        self._devices = devices
        self._presence = presence
        self._clock = clock
        self._meter = meter
        self._users: dict[str, None] = {}
        """Who has a newly connected device: as many as there are users at the most."""
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Watch the devices and start what is overdue, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            tasks.create_task(self._start())

    async def _watch(self) -> None:
        async for sighting in self._devices.sightings():
            match sighting:
                case Sight.LOST:
                    self._presence.lose()
                case Sight.COMPLETE:
                    self._wake(self._presence.complete())
                case DeviceInfo() as device:
                    if self._presence.see(device):
                        self._wake([device.user_id])

    def _wake(self, users: list[str]) -> None:
        self._users.update(dict.fromkeys(users))
        if self._users:
            self._woken.set()

    async def _start(self) -> None:
        while True:
            await self._woken.wait()
            users = list(islice(self._users, USERS_AT_A_TIME))
            for user in users:
                del self._users[user]
            if not self._users:
                self._woken.clear()
            try:
                await self._start_overdue(users)
            except Unavailable as error:
                _log.warning("presence_trigger_delayed", users=len(users), reason=error.reason)
                await asyncio.sleep(RETRY_SECONDS)
                self._wake(users)

    async def _start_overdue(self, users: list[str]) -> None:
        after, more = "", True
        while more:
            now = self._clock()
            claim = await self._schedules.claim_overdue(
                users, now, self._decision(now), limit=AGENTS_AT_A_TIME, after=after
            )
            for one in claim.decided:
                self._meter.decided(one, now=now, trigger=Trigger.DEVICE_CONNECTED)
            after, more = claim.more_after, bool(claim.more_after)

    def _decision(self, now: datetime) -> Callable[[Candidate], Decision | None]:
        def of(candidate: Candidate) -> Decision | None:
            online = self._presence.online(candidate.user_id, candidate.device_id)
            # What this device cannot serve stays as it is, and so does what the ticker will tell of.
            if not online or schedule_problem(candidate):
                return None
            return decide_or_postpone(candidate, now=now, online=True)

        return of
