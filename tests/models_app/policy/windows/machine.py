"""The machine in virtual time: engines that load, sleep and wake by a clock of the test, and who calls them.

The product looks at a machine in four places: the process table, engines' endpoints, devices, and gateways' reports.
Those four are played here; all that is decided and written is the product's own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from gpus import devices, processes
from gpus.models import GPU
from gpus.processes import EngineProcess
from gpus.readings import DeviceProcess, DeviceReading
from models_app.engines.canary import Canary
from models_app.engines.client import Gauges
from models_app.errors import ConnectionRefused
from models_app.lifecycle import observe, starting
from models_app.models import Replica
from models_app.policy import demand
from models_app.states import Goal, State
from models_app.traffic import activity
from models_app.traffic.activity import GatewayReport
from models_app.traffic.callers import Waiting
from sardeenz.errors import SardeenzError

LOAD, WAKE, FALL_ASLEEP, ANSWER = (timedelta(seconds=each) for each in (30, 2, 1, 3))


@dataclass
class Clock:
    """What the product takes for the time."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Pace:
    """How long an engine takes, and how much more it holds than is expected of it."""

    load: timedelta = LOAD
    wake: timedelta = WAKE
    fall_asleep: timedelta = FALL_ASLEEP
    ratio: float = 1.0


@dataclass
class Engine:
    """One engine: it listens once it has loaded, and changes over in the time that takes."""

    clock: Clock
    process: EngineProcess
    began: datetime
    pace: Pace = Pace()
    level: int = 0
    turns_at: datetime | None = None
    turns_to: int = 0

    def _settle(self) -> None:
        if self.clock.now - self.began < self.pace.load:
            raise ConnectionRefused("nobody listens")
        if self.turns_at is not None and self.turns_at <= self.clock.now:
            self.level, self.turns_at = self.turns_to, None

    def _turn(self, level: int, lasts: timedelta) -> None:
        self._settle()
        if self.turns_at is None and self.level != level:
            self.turns_at, self.turns_to = self.clock.now + lasts, level

    def busy_until(self) -> datetime | None:
        """When it is done with what it does now."""
        loaded = self.began + self.pace.load
        return loaded if loaded > self.clock.now else self.turns_at

    def health(self, **_: Any) -> bool:
        self._settle()
        return True

    def is_sleeping(self, **_: Any) -> bool:
        self._settle()
        return self.level > 0

    def sleep(self, level: int, **_: Any) -> None:
        self._turn(level, self.pace.fall_asleep)

    def wake(self, level: int = 1, **_: Any) -> None:
        self._turn(0, self.pace.wake)

    def gauges(self, **_: Any) -> Gauges:
        return Gauges(running=0, waiting=0)

    def canary(self, *_: Any, **__: Any) -> Canary:
        return Canary("fish", 1, 1)


@dataclass
class Call:
    """A request; refused, answered, or on its way."""

    deployment_id: int
    name: str
    at: datetime
    taken_by: str = ""
    until: datetime | None = None
    refusal: str = ""


@dataclass
class Machine:
    """Engines by marker, and the calls that one gateway has."""

    clock: Clock
    engines: dict[str, Engine] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    done: list[Call] = field(default_factory=list)
    used: dict[int, float] = field(default_factory=dict)
    pids: Any = field(default_factory=lambda: count(1000))
    pace_of: Callable[[str], Pace] = lambda _: Pace()
    """By marker."""

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Be what the product sees."""
        patch.setattr(timezone, "now", self.clock)
        patch.setattr(processes, "find_all", lambda _: {key: one.process for key, one in self.engines.items()})
        patch.setattr(processes, "reap", dict)
        patch.setattr(processes, "spawn", self.spawn)
        patch.setattr(processes, "terminate", self.end)
        patch.setattr(processes, "kill", self.end)
        patch.setattr(devices, "read", self.read)
        patch.setattr(starting, "_free", lambda *_: True)
        patch.setattr(observe, "client", lambda replica: self.engines[replica.marker])
        patch.setattr(observe, "DEEP_PROBE_SECONDS", 0.0)  # of real time, of which hardly any passes here
        patch.setattr(activity, "read_reports", self.reports)
        patch.setattr(activity, "all_last_used", lambda: dict(self.used))

    def spawn(self, argv: Sequence[str], *, environment: Mapping[str, str], marker: str, **_: Any) -> int:
        """A process that begins to load."""
        pid, short = next(self.pids), marker.split(":", 1)[1]
        process = EngineProcess(short, pid, float(pid), (pid,), None, (float(pid),))
        self.engines[short] = Engine(self.clock, process, self.clock.now, self.pace_of(short))
        return pid

    def end(self, process: EngineProcess) -> None:
        self.engines.pop(process.marker, None)

    def held(self, replicas: Iterable[Replica]) -> dict[str, list[DeviceProcess]]:
        """What each of these engines holds of its GPU: all that it may, up to the last byte of its KV floor."""
        found = defaultdict[str, list[DeviceProcess]](list)
        for row in replicas:
            engine = self.engines.get(row.marker)
            if engine is not None:
                asleep = engine.level > 0 and engine.turns_at is None
                spec = row.spec
                size = spec["overhead_bytes"] + (0 if asleep else spec["weights_bytes"] + spec["kv_floor_bytes"])
                found[row.gpu.uuid].append(DeviceProcess(engine.process.pid, int(size * engine.pace.ratio)))
        return found

    def read(self, uuid: str) -> DeviceReading:
        """The device, with what engines hold of it."""
        gpu = GPU.objects.get(uuid=uuid)
        here = tuple(self.held(Replica.objects.filter(gpu=gpu).select_related("gpu"))[uuid])
        used = sum(one.memory_bytes or 0 for one in here)
        none: tuple[None, ...] = (None,) * 4
        return DeviceReading(uuid, gpu.index, gpu.name, gpu.memory_bytes, used, *none, "9.0", "", True, here)

    def reports(self) -> list[GatewayReport]:
        """What the one gateway says: it routes to all that serve, and holds calls for others."""
        serving = Replica.objects.filter(state=State.READY, goal=Goal.READY).order_by()
        routed = frozenset(f"{number}:{start}" for number, start in serving.values_list("pk", "generation"))
        leases = {call.taken_by: 1 for call in self.calls if call.taken_by}
        held = [call for call in self.calls if not call.taken_by]
        waiting = {call.deployment_id: Waiting(1, call.at.timestamp(), 0) for call in held}
        return [GatewayReport("g", routed, leases, self.clock.now.timestamp(), waiting)]

    def in_use(self, deployment_id: int) -> bool:
        """Whether it has a call, or had one so lately that it stays a little after it."""
        stays = ANSWER.total_seconds() + settings.MIN_RESIDENT_SECONDS
        used = self.used.get(deployment_id, 0.0)
        return self.clock.now.timestamp() - used < stays or any(c.deployment_id == deployment_id for c in self.calls)

    def serve(self) -> None:
        """What the gateway does meanwhile: hand over, ask for who sleeps, and end what is answered."""
        now = self.clock.now
        for call in list(self.calls):
            if not call.taken_by:
                self._hand_over(call)
            if call.refusal or (call.until is not None and call.until <= now):
                self.used[call.deployment_id] = now.timestamp()
                self.calls.remove(call)
                self.done.append(call)

    def _hand_over(self, call: Call) -> None:
        rows = Replica.objects.filter(deployment=call.deployment_id, state=State.READY, goal=Goal.READY)
        if (row := rows.first()) is not None:
            call.taken_by, call.until = row.marker, self.clock.now + ANSWER
            return
        try:
            demand.request_ready(call.deployment_id)
        except SardeenzError as error:
            call.refusal = "" if error.code == "replica_moved" else error.code
