"""What is: the process table, the engine's endpoints, the devices and the gateways' reports, gathered into `Seen`.

Unknown stays None. A slow answer says nothing: only absence or a passed deadline fails an engine.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q
from django.utils import timezone
from redis import RedisError

from gpus import devices, processes
from gpus.installation import engine_key, installation_id
from gpus.processes import EngineProcess
from models_app.engines.client import EngineClient
from models_app.errors import ConnectionRefused, EngineRefused, EngineTimeout
from models_app.lifecycle import loads, verbs
from models_app.lifecycle.next_step import Seen
from models_app.models import Replica
from models_app.states import Goal, State
from models_app.traffic import activity
from models_app.traffic.activity import GatewayReport
from sardeenz.errors import DeviceError, EngineError

START_INTERRUPTED = "start_interrupted"
CANARY_SECONDS = 10.0
PROBE_SECONDS = 2.0
QUIET_RATIO = 4.0  # a load that does not answer takes at most a fifth of its worker's time
DEEP_PROBE_SECONDS = 10.0
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

    def doubt(self, marker: str, what: str) -> str:
        """Note what speaks against an engine; `what` again once it has done so for long enough, else nothing."""
        now = time.monotonic()
        said, since = self.doubts.get(marker, ("", now))
        if said != what:
            since = now
        self.doubts[marker] = what, since
        return what if now - since >= STEADY_SECONDS[what] else ""


@dataclass(frozen=True, slots=True)
class World:
    """The processes and gateway reports at one instant; `reports` is None while Redis is away."""

    engines: dict[str, EngineProcess]
    reports: list[GatewayReport] | None
    now: datetime


def world(remembered: Remembered) -> World:
    """Look around once for all replicas of a GPU."""
    engines = processes.find_all(installation_id())
    remembered.exit_codes |= processes.reap()  # after the look: whatever it found dead can be asked for its exit code
    remembered.pids |= {marker: engine.pids for marker, engine in engines.items()}
    try:
        reports = activity.read_reports()
    except (RedisError, OSError):
        reports = None
    return World(engines, reports, timezone.now())


def client(replica: Replica) -> EngineClient:
    """The client of this replica's engine."""
    return EngineClient(replica.url, engine_key(replica.pk, replica.generation))


def look(replica: Replica, around: World, remembered: Remembered) -> Seen:
    """What is seen of one replica, asking its engine only what its state makes worth knowing."""
    marker, state = replica.marker, State(replica.state)
    process = around.engines.get(marker)
    alive = process is not None and process.led
    engine = _ask(replica, remembered) if alive else _Answers()
    return Seen(
        alive=alive,
        healthy=engine.healthy,
        asleep=engine.asleep,
        canary=engine.canary,
        quiet=_quiet(replica, around) if alive and state == State.DRAINING and not engine.asleep else None,
        freed=_freed(replica, around, remembered, asleep=bool(engine.asleep)),
        overdue=replica.deadline_at is not None and replica.deadline_at <= around.now,
        may_start=state == State.PENDING and loads.hold(replica) is None,
        superseded=_superseded(replica, around),
        holds=state in (State.FAILED, State.STOPPED) and _holds(replica),
        restart_due=_may_restart(replica, around.now),
        replaces=_gives_up(replica),
        terminated=marker in remembered.terminated,
        orphaned=process is not None and not process.led,
        dead=engine.dead,
        sleep_began=verbs.sleep_began(replica),
    )


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


def _ask(replica: Replica, remembered: Remembered) -> _Answers:
    """Health and sleep; the canary only where a load or a wake waits for it."""
    state = State(replica.state)
    if state == State.READY and not _worth_a_probe(replica.marker, remembered):
        return _Answers()
    if state not in (State.STARTING, State.READY, State.DRAINING, State.SLEEPING, State.WAKING):
        return _Answers()
    began = time.monotonic()
    if began < remembered.quiet_until.get(replica.marker, 0.0):
        return _Answers()
    engine = client(replica)
    try:
        healthy = engine.health(timeout_seconds=PROBE_SECONDS)
        if not healthy:
            return _Answers(False, dead=remembered.doubt(replica.marker, UNHEALTHY))
        remembered.doubts.pop(replica.marker, None)
        if state == State.STARTING:
            return _Answers(healthy, False, _first_answer(engine, replica))
        asleep = engine.is_sleeping(timeout_seconds=PROBE_SECONDS) if replica.spec.get("sleep_enabled") else False
        canary = _same_answer(engine, replica) if state == State.WAKING and not asleep else None
        return _Answers(healthy, asleep, canary)
    except ConnectionRefused:  # what still loads does not listen yet
        return _Answers(dead="" if state == State.STARTING else remembered.doubt(replica.marker, CONNECTION_REFUSED))
    except EngineError as error:
        if state == State.STARTING and isinstance(error, EngineTimeout):  # its neighbours' steps waited as long
            now = time.monotonic()
            remembered.quiet_until[replica.marker] = now + QUIET_RATIO * (now - began)
        return _Answers()


def _worth_a_probe(marker: str, remembered: Remembered) -> bool:
    """A ready engine is asked every ten seconds, one in doubt always: its process table entry is checked each time."""
    now = time.monotonic()
    if (
        marker not in remembered.doubts
        and now - remembered.probed_at.get(marker, -DEEP_PROBE_SECONDS) < DEEP_PROBE_SECONDS
    ):
        return False
    remembered.probed_at[marker] = now
    return True


def _first_answer(engine: EngineClient, replica: Replica) -> bool:
    """Ask for one token and keep the answer: an engine that is healthy but cannot infer is not ready."""
    try:
        replica.canary = {"answer": one_token(engine, replica)}
    except EngineRefused as error:
        if error.fields["status"] >= 500:
            raise
        replica.canary = None  # an engine without a text endpoint has no canary; its health has to do
    return True


def _same_answer(engine: EngineClient, replica: Replica) -> bool:
    if replica.canary is None:
        return True
    try:
        return bool(one_token(engine, replica) == replica.canary["answer"])
    except EngineRefused:
        return False


def one_token(engine: EngineClient, replica: Replica) -> str:
    """The canary's answer. Its tokens are kept at once: the engine counts them, and no caller is to pay for them.

    One that gets no answer in time has its request aborted before the first token, and the engine counts nothing.
    """
    said = engine.canary(replica.spec["served_name"], timeout_seconds=CANARY_SECONDS)
    prompt_tokens, completion_tokens = replica.own_tokens
    replica.canary_use = {
        "generation": replica.generation,
        "prompt_tokens": prompt_tokens + said.prompt_tokens,
        "completion_tokens": completion_tokens + said.completion_tokens,
    }
    Replica.objects.filter(pk=replica.pk).update(canary_use=replica.canary_use)
    return said.answer


def _quiet(replica: Replica, around: World) -> bool | None:
    """Two witnesses: every gateway let go of it, and the engine itself runs and queues nothing."""
    if around.reports is None:
        return None
    if not activity.let_go(replica.marker, around.reports):
        return False
    try:
        gauges = client(replica).gauges(timeout_seconds=PROBE_SECONDS)
    except EngineError:
        return None
    if gauges.running is None or gauges.waiting is None:
        return None
    return gauges.running + gauges.waiting == 0


def _freed(replica: Replica, around: World, remembered: Remembered, *, asleep: bool) -> bool | None:
    """Whether the memory that was to come back is seen to be free; None where the devices do not tell."""
    if asleep:
        held = own_bytes(replica, around)
        weights = int(replica.spec.get("weights_bytes") or 0)
        limits = dict(replica.reservations.values_list("gpu__uuid", "awake_bytes"))
        return all(held[uuid] < limit - weights // 2 for uuid, limit in limits.items() if uuid in held) or not held
    if replica.marker in around.engines or replica.state not in (State.STOPPING, State.FAILED):
        return None
    ghosts = set(remembered.pids.get(replica.marker, ()))
    try:
        readings = [devices.read(uuid) for uuid in replica.spec.get("gpu_uuids", [])]
    except DeviceError:
        return None
    if any(reading.processes is None for reading in readings):
        return None
    return not any(process.pid in ghosts for reading in readings for process in reading.processes or ())


def own_bytes(replica: Replica, around: World) -> dict[str, int]:
    """What the engine holds of each of its GPUs, by uuid; a GPU that does not tell is absent."""
    engine = around.engines.get(replica.marker)
    held: dict[str, int] = {}
    for uuid in replica.spec.get("gpu_uuids", []) if engine else []:
        try:
            listed = devices.read(uuid).processes or ()
            found = [process for process in listed if engine and process.pid in engine.pids]
        except DeviceError:
            continue
        sizes = [process.memory_bytes for process in found if process.memory_bytes is not None]
        if len(sizes) == len(found) and found:
            held[uuid] = sum(sizes)
    return held


def _superseded(replica: Replica, around: World) -> bool:
    """Its replacement serves, and every gateway has said so (a sleeping one serves by being there)."""
    if replica.state not in (State.READY, State.SLEEPING, State.FAILED) or around.reports is None:
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
    booked = replica.port is not None or bool(replica.ipc_name)
    return booked or replica.reservations.filter(held_bytes__gt=0).exists()


def orphans(around: World, known: set[str]) -> list[EngineProcess]:
    """Engines of this installation that no replica owns. `known` must have been read after `around` was made."""
    return [engine for marker, engine in around.engines.items() if marker not in known]


def segment_prefix() -> str:
    """What the names of this installation's segments begin with."""
    return f"srdz_{installation_id()[:8]}_"
