"""Models taking turns on one GPU in virtual time: requests arrive, gateways ask, engines drain, sleep and wake."""

from dataclasses import dataclass, field, replace

from models_app.policy import eviction
from models_app.policy.eviction import Resident, Rules, Scene, Sleeper, Verdict
from models_app.traffic.callers import Waiting

GPU = "GPU-0"
TICK_SECONDS = 0.5
ASK_SECONDS = 2.0


@dataclass(slots=True)
class Request:
    """One call of a model; `began` once its engine took it."""

    model: str
    at: float
    seconds: float
    priority: int = 0
    began: float | None = None


@dataclass(slots=True)
class Engine:
    """One model of this GPU."""

    id: int
    name: str
    bytes: int
    sleep_seconds: float
    wake_seconds: float
    state: str = "sleeping"
    headed: str = "sleeping"
    since: float = 0.0
    waiting: list[Request] = field(default_factory=list)
    running: list[Request] = field(default_factory=list)
    stays: list[float] = field(default_factory=list)
    wakes: int = 0
    used_at: float | None = None

    @property
    def holds(self) -> int:
        """Bytes it has now."""
        return 0 if self.state == "sleeping" else self.bytes

    def enter(self, state: str, now: float) -> None:
        """Be in a new state."""
        if self.state == "ready":
            self.stays.append(now - self.since)
        self.state, self.since = state, now


class World:
    """A GPU of `size` bytes, its engines, and everybody who asks for them."""

    def __init__(self, size: int, engines: list[Engine], rules: Rules, requests: list[Request]) -> None:
        self.size, self.engines, self.rules = size, engines, rules
        self.requests = sorted(requests, key=lambda request: request.at)
        self.now = 0.0
        self.evicted: list[tuple[Engine, float]] = []
        self.serving: list[int] = []
        """How many engines take requests, at each tick."""

    def run(self, seconds: float) -> None:
        """Let time pass."""
        coming = list(self.requests)
        while self.now < seconds:
            while coming and coming[0].at <= self.now:
                request = coming.pop(0)
                self.engine(request.model).waiting.append(request)
            for engine in self.engines:
                self._move(engine)
            for engine in self.engines:
                # gateways ask for each model at a phase of their own
                if engine.waiting and (self.now + engine.id * TICK_SECONDS) % ASK_SECONDS < TICK_SECONDS:
                    self._ask(engine)
            self.serving.append(sum(one.state == one.headed == "ready" for one in self.engines))
            self.now += TICK_SECONDS

    def engine(self, name: str) -> Engine:
        """The one of this name."""
        return next(engine for engine in self.engines if engine.name == name)

    def _move(self, engine: Engine) -> None:
        """What its worker does."""
        if engine.running:
            engine.used_at = self.now
        engine.running = [one for one in engine.running if (one.began or 0.0) + one.seconds > self.now]
        past = self.now - engine.since
        if engine.state == "ready" and engine.headed == "sleeping":
            engine.enter("draining", self.now)
        elif engine.state == "draining" and not engine.running:
            engine.enter("falling asleep", self.now)
        elif engine.state == "falling asleep" and past >= engine.sleep_seconds:
            engine.enter("sleeping", self.now)
        elif engine.state == "sleeping" and engine.headed == "ready" and self._room() >= engine.bytes:
            engine.enter("waking", self.now)
            engine.wakes += 1
        elif engine.state == "waking" and past >= engine.wake_seconds:
            engine.enter("ready", self.now)
        if engine.state == "ready" and engine.headed == "ready":
            for request in engine.waiting:
                request.began = self.now
            engine.running += engine.waiting
            engine.waiting = []

    def _room(self) -> int:
        return self.size - sum(engine.holds for engine in self.engines)

    def _ask(self, engine: Engine) -> None:
        """What `request_ready` does."""
        if engine.headed == "ready":
            return
        decision = eviction.decide(self.scene(engine))
        assert decision.verdict is not Verdict.REFUSE
        if decision.verdict is Verdict.WAIT:
            return
        for resident in decision.residents:
            other = self.engine(resident.name)
            self.evicted.append((other, self.now - other.since))
            other.headed = "sleeping"
        engine.headed = "ready"

    def scene(self, wanted: Engine) -> Scene:
        """What a decision knows."""
        asleep = [one for one in self.engines if one.headed == "sleeping" and one.waiting and one is not wanted]
        return Scene(
            now=self.now,
            rules=self.rules,
            free={GPU: self.size - sum(one.bytes for one in self.engines if one.headed == "ready")},
            wanted=self._sleeper(wanted),
            residents=tuple(self._resident(one) for one in self.engines if one.headed == "ready"),
            rivals=tuple(self._sleeper(one) for one in asleep),
        )

    def _sleeper(self, engine: Engine) -> Sleeper:
        since = min(request.at for request in engine.waiting)
        waiting = Waiting(len(engine.waiting), since, min(request.priority for request in engine.waiting))
        return Sleeper(engine.id, engine.name, {GPU: engine.bytes}, waiting, engine.wake_seconds)

    def _resident(self, engine: Engine) -> Resident:
        return replace(
            Resident(engine.id, engine.name, {GPU: engine.bytes}),
            ready_at=engine.since if engine.state == "ready" else None,
            wakes=engine.state != "ready",
            in_flight=len(engine.running),
            waiting=len(engine.waiting),
            used_at=engine.used_at,
            sleep_seconds=engine.sleep_seconds,
            wake_seconds=engine.wake_seconds,
        )
