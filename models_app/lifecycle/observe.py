"""What is: the process table, the engine's endpoints, the devices and the gateways' reports, gathered into `Sight`.

It only reads: no row is written, and what the test prompt cost is counted by the step. Unknown stays None. A slow
answer says nothing: only absence or a passed deadline fails an engine.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from django.db.models import Q
from django.utils import timezone
from redis import RedisError

from gpus import devices, processes
from gpus.installation import engine_key, installation_id
from gpus.processes import EngineProcess
from gpus.readings import DeviceReading
from models_app.engines.canary import Canary
from models_app.engines.client import EngineClient
from models_app.errors import ConnectionRefused, EngineRefused, EngineTimeout
from models_app.lifecycle import loads
from models_app.lifecycle.load_order import Hold
from models_app.lifecycle.next_step import Seen
from models_app.lifecycle.transition import sleep_began
from models_app.memory import host_rows
from models_app.models import Replica
from models_app.spec import BY_STOP
from models_app.states import Goal, State
from models_app.traffic import activity
from models_app.traffic.activity import GatewayReport
from models_app.traffic.capabilities import VISION, capabilities
from sardeenz.errors import DeviceError, EngineError

START_INTERRUPTED = "start_interrupted"
CANARY_SECONDS = 10.0
PROBE_SECONDS = 2.0
QUIET_RATIO = 4.0  # a load that does not answer takes at most a fifth of its worker's time
DEEP_PROBE_SECONDS = 10.0
_MAY_RETIRE = (State.READY, State.SLEEPING, State.FAILED, State.STOPPED)
CONNECTION_REFUSED = "connection_refused"
UNHEALTHY = "unhealthy"
STEADY_SECONDS = {CONNECTION_REFUSED: 5.0, UNHEALTHY: 20.0}
"""What is said so long without an answer to the contrary is evidence. Silence never is."""


@dataclass(slots=True)
class Remembered:
    """What this worker remembers between steps. Losing it costs a repeated probe or signal, never a fact."""

    terminated: set[str] = field(default_factory=set)
    pids: dict[str, tuple[int, ...]] = field(default_factory=dict)
    probed_at: dict[str, float] = field(default_factory=dict)
    exit_codes: dict[int, int] = field(default_factory=dict)
    doubts: dict[str, tuple[str, float]] = field(default_factory=dict)
    quiet_until: dict[str, float] = field(default_factory=dict)
    """By marker: until when an engine that let us wait in vain while it loads is left alone."""
    progress_at: dict[str, float] = field(default_factory=dict)
    told_at: dict[str, float] = field(default_factory=dict)

    def doubt(self, marker: str, what: str) -> str:
        """Note what speaks against an engine; `what` again once it has done so for long enough, else nothing."""
        now = time.monotonic()
        last, since = self.doubts.get(marker, ("", now))
        if last != what:
            since = now
        self.doubts[marker] = what, since
        return what if now - since >= STEADY_SECONDS[what] else ""


@dataclass(frozen=True)
class World:
    """The processes at one instant, and what gateways report since."""

    engines: dict[str, EngineProcess]
    now: datetime

    @cached_property
    def reports(self) -> list[GatewayReport] | None:
        """Asked for where a drain or a move waits for it; None while Redis is away."""
        try:
            return activity.read_reports()
        except (RedisError, OSError):
            return None


@dataclass
class Sight:
    """One replica in one step, and what is seen of it. What costs a question is asked once, when it is needed."""

    replica: Replica
    around: World
    remembered: Remembered
    seen: Seen = field(default_factory=Seen)
    hold: Hold | None = None
    """Why a pending one may not load yet."""
    answer: Canary | None = None
    """What its engine made of the test prompt in this step; None too where it has no endpoint for it."""
    difference: str = ""
    """In which part that is not what it was when the engine was first ready, in words."""

    @cached_property
    def marker(self) -> str:
        return self.replica.marker

    @cached_property
    def engine(self) -> EngineClient:
        return client(self.replica)

    @cached_property
    def process(self) -> EngineProcess | None:
        return self.around.engines.get(self.marker)

    @cached_property
    def own_bytes(self) -> dict[str, int]:
        """What the engine holds of each of its GPUs, by uuid; a GPU that does not tell is absent."""
        if self.process is None:
            return {}
        return held_bytes(self.process, readings(self.replica.gpu_uuids))


def world(remembered: Remembered) -> World:
    """Look around once for all replicas of a GPU."""
    engines = processes.find_all(installation_id())
    remembered.exit_codes |= processes.reap()  # after the look: whatever it found dead can be asked for its exit code
    remembered.pids |= {marker: engine.pids for marker, engine in engines.items()}
    return World(engines, timezone.now())


def client(replica: Replica) -> EngineClient:
    """The client of this replica's engine."""
    return EngineClient(replica.url, engine_key(replica.pk, replica.generation))


def look(replica: Replica, around: World, remembered: Remembered) -> Sight:
    """What is seen of one replica, asking its engine only what its state makes worth knowing. No row is written."""
    sight = Sight(replica, around, remembered)
    state, process = State(replica.state), sight.process
    alive = process is not None and process.led
    engine = _ask(sight) if alive else _Answers()
    overdue = replica.deadline_at is not None and replica.deadline_at <= around.now
    sight.hold = loads.hold(replica) if state == State.PENDING else None
    sight.seen = Seen(
        alive=alive,
        healthy=engine.healthy,
        asleep=engine.asleep,
        canary=engine.canary,
        quiet=_quiet(sight) if alive and state == State.DRAINING and not engine.asleep else None,
        freed=_freed(sight, asleep=bool(engine.asleep)),
        overdue=overdue,
        may_start=state == State.PENDING and sight.hold is None,
        superseded=_superseded(replica, around),
        holds=state in (State.FAILED, State.STOPPED) and _holds(replica),
        restart_due=_may_restart(replica, around.now),
        replaces=_gives_up(replica),
        terminated=sight.marker in remembered.terminated,
        orphaned=process is not None and not process.led,
        dead=engine.dead,
        deepens=replica.reason == host_rows.DEEPENS,
        rests=replica.reason == host_rows.RESTS or replica.gives_way == BY_STOP or not replica.sleep_enabled,
        sleep_began=overdue and sleep_began(replica),
    )
    return sight


def _may_restart(replica: Replica, now: datetime) -> bool:
    """A failed one without a time stays as it is; a stopped one without a time waits for nothing."""
    if replica.restart_at is None:
        return replica.state == State.STOPPED
    return replica.restart_at <= now


@dataclass(frozen=True, slots=True)
class _Answers:
    healthy: bool | None = None
    asleep: bool | None = None
    canary: bool | None = None
    dead: str = ""


def _ask(sight: Sight) -> _Answers:
    """Health and sleep; the canary only where a load or a wake waits for it."""
    replica, remembered, marker = sight.replica, sight.remembered, sight.marker
    state = State(replica.state)
    if state not in (State.STARTING, State.READY, State.DRAINING, State.SLEEPING, State.WAKING):
        return _Answers()
    settled = state == State.READY or (state == State.SLEEPING and replica.goal == Goal.READY)
    if settled and not _worth_a_probe(marker, remembered):
        return _Answers()
    began = time.monotonic()
    if began < remembered.quiet_until.get(marker, 0.0):
        return _Answers()
    remembered.probed_at[marker] = began
    engine = sight.engine
    try:
        healthy = engine.health(timeout_seconds=PROBE_SECONDS)
        if not healthy:
            return _Answers(False, dead=remembered.doubt(marker, UNHEALTHY))
        remembered.doubts.pop(marker, None)
        if state == State.STARTING:
            return _Answers(healthy, False, _first_answer(sight))
        asleep = engine.is_sleeping(timeout_seconds=PROBE_SECONDS) if replica.sleep_enabled else False
        canary = _same_answer(sight) if state == State.WAKING and not asleep else None
        return _Answers(healthy, asleep, canary)
    except ConnectionRefused:  # what still loads does not listen yet
        return _Answers(dead="" if state == State.STARTING else remembered.doubt(marker, CONNECTION_REFUSED))
    except EngineError as error:
        if state == State.STARTING and isinstance(error, EngineTimeout):  # its neighbours' steps waited as long
            now = time.monotonic()
            remembered.quiet_until[marker] = now + QUIET_RATIO * (now - began)
        return _Answers()


def _worth_a_probe(marker: str, remembered: Remembered) -> bool:
    """A ready engine, and one that is to wake, is asked every ten seconds, one in doubt always.

    Its process table entry is checked each time.
    """
    last = remembered.probed_at.get(marker, -DEEP_PROBE_SECONDS)
    return marker in remembered.doubts or time.monotonic() - last >= DEEP_PROBE_SECONDS


def _first_answer(sight: Sight) -> bool:
    """Ask for one token: an engine that is healthy but cannot infer is not ready.

    One that looks at pictures and may sleep is shown one, to compare its answer after a wake.
    """
    replica = sight.replica
    seeing = replica.sleep_enabled and VISION in capabilities(replica.deployment)
    try:
        sight.answer = one_token(sight.engine, replica, seeing=seeing)
    except EngineRefused as error:
        if error.fields["status"] >= 500:
            raise
        # an engine without a text endpoint has no canary; its health has to do
    return True


def _same_answer(sight: Sight) -> bool:
    """Whether it answers as when it was first ready, to a picture as well where it did so then."""
    before = sight.replica.canary
    if before is None:
        return True
    try:
        sight.answer = one_token(sight.engine, sight.replica, seeing="image" in before)
    except EngineRefused as error:
        sight.difference = f"it refused it: {error.message}"
        return False
    sight.difference = sight.answer.difference(before)
    return not sight.difference


def one_token(engine: EngineClient, replica: Replica, *, seeing: bool = False) -> Canary:
    """What the engine makes of the test prompt. The asker has to count its tokens, which no caller is to pay for.

    One that gets no answer in time has its request aborted before the first token, and the engine counts nothing.
    """
    return engine.canary(replica.spec["served_name"], seeing=seeing, timeout_seconds=CANARY_SECONDS)


def _quiet(sight: Sight) -> bool | None:
    """Two witnesses: every gateway let go of it, and the engine itself runs and queues nothing."""
    if sight.around.reports is None:
        return None
    if not activity.let_go(sight.marker, sight.around.reports):
        return False
    try:
        gauges = sight.engine.gauges(timeout_seconds=PROBE_SECONDS)
    except EngineError:
        return None
    if gauges.running is None or gauges.waiting is None:
        return None
    return gauges.running + gauges.waiting == 0


def _freed(sight: Sight, *, asleep: bool) -> bool | None:
    """Whether the memory that was to come back is seen to be free; None where the devices do not tell."""
    replica = sight.replica
    if asleep:
        return _fell(sight) if replica.state == State.DRAINING else None
    if sight.process is not None or replica.state not in (State.STOPPING, State.FAILED):
        return None
    ghosts = set(sight.remembered.pids.get(sight.marker, ()))
    uuids = replica.gpu_uuids
    seen = readings(uuids)
    if len(seen) < len(uuids) or any(reading.processes is None for reading in seen.values()):
        return None
    return not any(process.pid in ghosts for reading in seen.values() for process in reading.processes or ())


def _fell(sight: Sight) -> bool:
    """Whether one that sleeps holds less by about its weights, where that is seen at all."""
    own_bytes, weights = sight.own_bytes, sight.replica.weights_bytes
    limits = dict(sight.replica.reservations.values_list("gpu__uuid", "awake_bytes"))
    return all(own_bytes[uuid] < limit - weights // 2 for uuid, limit in limits.items() if uuid in own_bytes)


def readings(uuids: Iterable[str]) -> dict[str, DeviceReading]:
    """These devices as they are now; one that does not answer is absent."""
    wanted = set(uuids)
    if len(wanted) > 1:
        with suppress(DeviceError):
            return {reading.uuid: reading for reading in devices.read_all() if reading.uuid in wanted}
    answers = {}
    for uuid in wanted:
        with suppress(DeviceError):
            answers[uuid] = devices.read(uuid)
    return answers


def held_bytes(engine: EngineProcess, seen: Mapping[str, DeviceReading]) -> dict[str, int]:
    """What an engine holds of each of these devices; one that does not tell is absent."""
    held: dict[str, int] = {}
    for uuid, reading in seen.items():
        own = [process for process in reading.processes or () if process.pid in engine.pids]
        sizes = [process.memory_bytes for process in own if process.memory_bytes is not None]
        if len(sizes) == len(own) and own:
            held[uuid] = sum(sizes)
    return held


def _superseded(replica: Replica, around: World) -> bool:
    """Its replacement serves, and every gateway has said so (a sleeping one serves by being there)."""
    if replica.state not in _MAY_RETIRE or not replica.replacements.all() or around.reports is None:
        return False
    ready, asleep = Q(state=State.READY, goal=Goal.READY), Q(state=State.SLEEPING, goal=Goal.SLEEPING)
    usable = ready if replica.goal == Goal.READY else ready | asleep
    return any(
        target.state == State.SLEEPING or activity.known_to_all(target.marker, around.reports)
        for target in replica.replacements.filter(usable, disposable=False)
    )


def _gives_up(replica: Replica) -> bool:
    """A move's target is not tried again while its source serves, unless its engine was never even started."""
    source = replica.replaces
    return source is not None and source.goal != Goal.STOPPED and replica.reason != START_INTERRUPTED


def _holds(replica: Replica) -> bool:
    taken = replica.port is not None or bool(replica.ipc_name)
    return taken or replica.reservations.filter(held_bytes__gt=0).exists()


def orphans(around: World, known: set[str]) -> list[EngineProcess]:
    """Engines of this installation that no replica owns. `known` must have been read after `around` was made."""
    return [engine for marker, engine in around.engines.items() if marker not in known]
