"""Who makes room for a sleeping model that is asked for. Pure: decided from one scene, the GPUs it would use.

1. Where it fits once everybody is where he is headed, it wakes, and nobody moves.
2. Pinned residents stay. Where all others together would not make room: refused. Who cannot sleep is stopped instead.
3. Every resident has its minimum residency. Afterwards one that nobody has used for long may be evicted at once.
4. One that was used lately may be evicted when the oldest request here has waited half of what its priority may have
   to, and a little more for each of its own requests: so calls gather for one turn, and it begins at a moment at which
   few have to be waited for. After the whole maximum wait every resident may be evicted, however busy it is.
5. Of those the cheapest sufficient set goes. Of several models that could evict now, the one due first does.
6. While a sleeper wakes nobody else is sent to sleep there: engines of one GPU wake one after the other, so a second
   one would not be awake any sooner, and whoever left for it would serve nobody meanwhile. Where that wake lasts too
   long, the next one begins all the same.

The minimum residency is at least what the resident's own sleep and wake take, so an engine serves at least as long as
its turn costs. Without a word from the gateways nobody is known to be idle, and nobody is evicted.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import combinations
from typing import Any

from models_app.traffic.callers import Waiting
from sardeenz import sizes

EXACT = 10
"""Up to so many candidates every set is compared; beyond, the dearest are spared one by one."""
UNMEASURED_SECONDS = 10.0
"""Taken for the sleep and the wake of a resident where neither was measured yet, when candidates are compared."""
UNUSED_SECONDS = 20.0
"""Calls come in bursts: a resident that nobody has used for so long is likely to be used by nobody soon."""
PATIENCE_RATIO = 1 / 2
"""So much of its maximum wait a request waits before a resident that was used lately goes for it."""
LOAD_RATIO = 1 / 8
"""So much more for each request that this resident serves."""


class Verdict(Enum):
    """What becomes of the wanted one, the best first."""

    WAKE = "wake"
    EVICT = "evict"
    WAIT = "wait"
    REFUSE = "refuse"


class Why(Enum):
    """What a wait is for."""

    RESIDENCY = "minimum_residency"
    MAX_WAIT = "maximum_wait"
    USED = "used_lately"
    NOT_READY = "not_ready"
    UNKNOWN = "gateways_unknown"
    TURN = "turn"
    WAKING = "another_wakes"


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A replica that sleeps, or is on its way there, or whose engine is gone, and that is asked for."""

    id: int
    name: str
    needs: Mapping[str, int]
    """Bytes by GPU uuid that it holds awake and not as it is."""
    waiting: Waiting
    wake_seconds: float | None = None
    """To wake or, where its engine is gone, to load, as last measured."""
    cold: bool = False
    """Whether its engine is gone."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A replica that is awake, or on its way there, on one of these GPUs."""

    id: int
    name: str
    frees: Mapping[str, int]
    """Bytes by GPU uuid that its sleep, or its stop, gives back."""
    priority: int = 0
    """Its deployment's: higher is kept longer."""
    pinned: bool = False
    sleep_enabled: bool = True
    copy: bool = False
    """Whether it serves the model that room is sought for: no copy takes the place of another."""
    ready_at: float | None = None
    """Unix time since when it serves; None while it loads, wakes or moves."""
    wakes: bool = False
    """Whether it wakes, or will once others made room for it."""
    in_flight: int | None = None
    """Requests it serves; None where the gateways are not heard."""
    waiting: int | None = None
    used_at: float | None = None
    sleep_seconds: float | None = None
    wake_seconds: float | None = None
    """To wake or, where it cannot sleep, to load again, as last measured."""

    @property
    def movable(self) -> bool:
        """Whether it may ever be evicted."""
        return not self.pinned and not self.copy

    @property
    def load(self) -> int:
        """How many requests it serves, or is about to."""
        return (self.in_flight or 0) + (self.waiting or 0)

    @property
    def busy(self) -> bool:
        """Whether it is in use."""
        return self.load > 0

    @property
    def idle(self) -> bool:
        """Whether it is known to serve nobody."""
        return self.ready_at is not None and self.in_flight is not None and not self.busy

    @property
    def sleep_and_wake_seconds(self) -> float | None:
        """To sleep and to wake again, or to stop and to load again, as last measured."""
        known = [seconds for seconds in (self.sleep_seconds, self.wake_seconds) if seconds is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Rules:
    """The two bounds that an operator sets."""

    min_resident_seconds: float
    wait_seconds: Mapping[int, float]
    """Maximum wait by priority; the nearest entry at or below a priority holds for it."""

    def max_wait(self, priority: int) -> float:
        """Seconds after which a request of this priority may interrupt others."""
        below = [entry for entry in self.wait_seconds if entry <= priority]
        return self.wait_seconds[max(below) if below else min(self.wait_seconds)]

    def residency(self, resident: Resident) -> float:
        """Seconds for which it is left awake once it is ready."""
        return max(self.min_resident_seconds, resident.sleep_and_wake_seconds or 0.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a decision knows."""

    now: float
    rules: Rules
    free: Mapping[str, int]
    """Bytes by GPU uuid that nobody holds once everybody is where he is headed; the wanted one sleeps."""
    wanted: Sleeper
    residents: tuple[Resident, ...] = ()
    rivals: tuple[Sleeper, ...] = ()
    """Other sleepers that are asked for and fit on these GPUs alone."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and whom it concerns: who is evicted, who is waited for, or who stays in the way."""

    verdict: Verdict
    residents: tuple[Resident, ...] = ()
    why: Why | None = None
    until: float | None = None
    """Unix time at which a wait should be over; None where that is not known."""
    first: str = ""
    """Whose turn it is, or who wakes already."""


def decide(seen: Scene) -> Decision:
    """The rules above, for the wanted one."""
    own = _alone(seen, seen.wanted)
    if own.verdict is not Verdict.EVICT:
        return own
    waking = _waking(seen)
    if waking is not None:
        return Decision(Verdict.WAIT, own.residents, Why.WAKING, first=waking.name)
    turn = _due(seen, seen.wanted)
    earlier = [rival for rival in seen.rivals if _due(seen, rival) < turn]
    ahead = [rival for rival in earlier if _alone(seen, rival).verdict is Verdict.EVICT]
    if not ahead:
        return own
    return Decision(Verdict.WAIT, own.residents, Why.TURN, first=min(ahead, key=lambda rival: _due(seen, rival)).name)


def _waking(seen: Scene) -> Resident | None:
    """Who wakes here first; nobody once the oldest request has waited as long as it may, and for a wake besides."""
    due, _ = _due(seen, seen.wanted)
    waking = (one for one in seen.residents if one.wakes)
    return next((one for one in waking if seen.now < due + (one.sleep_and_wake_seconds or UNMEASURED_SECONDS)), None)


def _due(seen: Scene, sleeper: Sleeper) -> tuple[float, int]:
    """When its oldest request will have waited long enough; no two are due at the same time."""
    return sleeper.waiting.since + seen.rules.max_wait(sleeper.waiting.priority), sleeper.id


def _alone(seen: Scene, sleeper: Sleeper) -> Decision:
    """As if nobody else were asked for."""
    lacking = {uuid: need - seen.free[uuid] for uuid, need in sleeper.needs.items() if need > seen.free[uuid]}
    if not lacking:
        return Decision(Verdict.WAKE)
    movable = [resident for resident in seen.residents if resident.movable]
    if not _cover(movable, lacking):
        return Decision(Verdict.REFUSE, tuple(resident for resident in seen.residents if not resident.movable))
    free_at = {resident.id: max(_free_at(seen, sleeper, resident), seen.now) for resident in movable}
    moments = sorted(set(free_at.values()))
    by_then = ([one for one in movable if free_at[one.id] <= moment] for moment in moments)
    moment, enough = next(
        (moment, some) for moment, some in zip(moments, by_then, strict=True) if _cover(some, lacking)
    )
    chosen = _cheapest(enough, lacking, seen.now)
    if moment == seen.now:
        return Decision(Verdict.EVICT, chosen)
    last = max(chosen, key=lambda resident: free_at[resident.id])
    return Decision(Verdict.WAIT, chosen, _why(seen, last, moment), moment if moment < math.inf else None)


def _free_at(seen: Scene, sleeper: Sleeper, resident: Resident) -> float:
    """From when on it may be evicted for this sleeper; inf where nobody knows."""
    if resident.ready_at is None or resident.in_flight is None:
        return math.inf
    waiting, load = sleeper.waiting, resident.load
    share = min(PATIENCE_RATIO + LOAD_RATIO * load, 1.0)
    patience = waiting.since + share * seen.rules.max_wait(waiting.priority)
    unused = math.inf if load else (resident.used_at or 0.0) + UNUSED_SECONDS
    return max(resident.ready_at + seen.rules.residency(resident), min(patience, unused))


def _why(seen: Scene, resident: Resident, moment: float) -> Why:
    """What holds this one until then."""
    if resident.ready_at is None:
        return Why.NOT_READY
    if resident.in_flight is None:
        return Why.UNKNOWN
    if moment <= resident.ready_at + seen.rules.residency(resident):
        return Why.RESIDENCY
    return Why.MAX_WAIT if resident.busy else Why.USED


def _cover(residents: Iterable[Resident], lacking: Mapping[str, int]) -> bool:
    """Whether their sleep gives back enough on every GPU."""
    given = list(residents)
    return all(sum(one.frees.get(uuid, 0) for one in given) >= lack for uuid, lack in lacking.items())


def _cheapest(candidates: list[Resident], lacking: Mapping[str, int], now: float) -> tuple[Resident, ...]:
    """The sufficient set of the lowest deployment priority and then the lowest cost."""
    if len(candidates) > EXACT:
        return _without_the_dearest(candidates, lacking, now)
    sizes, costs = range(1, len(candidates) + 1), {one.id: _cost(one, now) for one in candidates}
    sets = (chosen for size in sizes for chosen in combinations(candidates, size) if _cover(chosen, lacking))
    return min(sets, key=lambda chosen: (max(one.priority for one in chosen), sum(costs[one.id] for one in chosen)))


def _without_the_dearest(candidates: list[Resident], lacking: Mapping[str, int], now: float) -> tuple[Resident, ...]:
    """Spare the dearest one that is not needed, again and again."""
    chosen = sorted(candidates, key=lambda one: (one.priority, _cost(one, now)), reverse=True)
    for one in tuple(chosen):
        rest = [other for other in chosen if other is not one]
        if _cover(rest, lacking):
            chosen = rest
    return tuple(chosen)


def cost(seen: Scene, decision: Decision) -> tuple[float, float]:
    """What the decision's evictions cost, to compare GPUs by: the highest priority that goes, then as in `_cost`."""
    priority = max((one.priority for one in decision.residents), default=-math.inf)
    return priority, sum(_cost(one, seen.now) for one in decision.residents)


def free_at(seen: Scene, resident: Resident) -> float | None:
    """Unix time from when on it may be evicted for the wanted one; None where nobody knows."""
    moment = max(_free_at(seen, seen.wanted, resident), seen.now)
    return moment if moment < math.inf else None


def _cost(resident: Resident, now: float) -> float:
    """Seconds of sleeping and waking, per second of idleness or times the requests to be waited for.

    Who was asked for lately will be asked for again soon; who serves fewest is the first to have drained.
    """
    seconds = UNMEASURED_SECONDS if resident.sleep_and_wake_seconds is None else resident.sleep_and_wake_seconds
    return seconds * resident.load if resident.busy else seconds / max(now - _quiet_since(resident), 1.0)


def _quiet_since(resident: Resident) -> float:
    return max(resident.used_at or 0.0, resident.ready_at or 0.0)


def expected_at(seen: Scene, decision: Decision) -> float | None:
    """Unix time at which the wanted one should be ready, as far as measured; drains come on top."""
    waits = decision.verdict is Verdict.WAIT
    if decision.verdict is Verdict.REFUSE or (waits and decision.until is None) or seen.wanted.wake_seconds is None:
        return None
    sleeps = max((resident.sleep_seconds or 0.0 for resident in decision.residents), default=0.0)
    return (decision.until or seen.now) + sleeps + seen.wanted.wake_seconds


def explain(seen: Scene, decision: Decision) -> dict[str, Any]:
    """The outcome and all its inputs, for the history."""
    outcome = {
        "verdict": decision.verdict.value,
        "concerns": [resident.id for resident in decision.residents],
        "why": decision.why.value if decision.why else None,
        "until": decision.until,
        "max_wait_seconds": seen.rules.max_wait(seen.wanted.waiting.priority),
        "min_resident_seconds": {str(one.id): seen.rules.residency(one) for one in seen.residents},
    }
    return outcome | asdict(seen)


def words(seen: Scene, decision: Decision) -> str:
    """The outcome for the wanted one, in a sentence."""
    names = " and ".join(f"`{resident.name}`" for resident in decision.residents)
    match decision.verdict:
        case Verdict.WAKE:
            return ""
        case Verdict.EVICT:
            return f"{'starts' if seen.wanted.cold else 'wakes'} once {names} made room"
        case Verdict.REFUSE:
            return _refusal(seen, decision)
    at = f"{datetime.fromtimestamp(decision.until, UTC):%H:%M:%S} UTC" if decision.until else ""
    reasons = {
        Why.RESIDENCY: f"{names} may stay until {at}, the end of its minimum residency",
        Why.MAX_WAIT: f"{names} is in use and may stay until {at}, when requests here have waited long enough",
        Why.NOT_READY: f"{names} is not ready yet",
        Why.UNKNOWN: f"what {names} has in flight is not known while Redis is away",
        Why.USED: f"{names} was in use lately and may stay until {at}, when requests here have waited for a while",
        Why.WAKING: f"`{decision.first}` wakes first",
        Why.TURN: f"`{decision.first}` has waited longer and goes first",
        None: "",
    }
    return f"no room now: {reasons[decision.why]}"


def _refusal(seen: Scene, decision: Decision) -> str:
    needs = seen.wanted.needs
    uuid = max(needs, key=lambda uuid: needs[uuid] - seen.free[uuid])
    room = f"{sizes.needed(needs[uuid])} are needed, its GPU has {sizes.free(seen.free[uuid])} free"
    return f"{room}; what has to stay: {kept(decision.residents)}"


def kept(residents: Iterable[Resident]) -> str:
    """Who is never evicted, and why."""
    named = (f"`{one.name}` ({_why_kept(one)})" for one in residents)
    return ", ".join(named) or "nobody"


def _why_kept(resident: Resident) -> str:
    return "pinned" if resident.pinned else "another replica of the same model"


def why_it_may_go(seen: Scene, resident: Resident) -> str:
    """Why this resident would go, and from when on, in a sentence."""
    moment = free_at(seen, resident)
    if moment is None:
        return "it is not ready yet" if resident.ready_at is None else "what it has in flight is not known"
    use = "in use" if resident.busy else f"idle for {seen.now - _quiet_since(resident):.0f} s"
    until = "" if moment <= seen.now else f"; it may stay until {datetime.fromtimestamp(moment, UTC):%H:%M:%S} UTC"
    return f"{use}, priority {resident.priority}{until}"


def why_evicted(seen: Scene, resident: Resident) -> str:
    """Why this resident was evicted, in a sentence with the numbers."""
    waiting, rules = seen.wanted.waiting, seen.rules
    stayed = (
        f"ready for {seen.now - (resident.ready_at or seen.now):.0f} s of at least {rules.residency(resident):.0f} s"
    )
    if not resident.sleep_enabled:
        stayed += "; it has no sleep mode, so its engine ends and loads at its next request"
    if not resident.busy:
        return f"evicted for `{seen.wanted.name}`: idle, {stayed}"
    limit = rules.max_wait(waiting.priority)
    waited = f"{waiting.count} waiting there, the oldest for {seen.now - waiting.since:.0f} s"
    return (
        f"evicted for `{seen.wanted.name}`: {waited} of at most {limit:.0f} s at priority {waiting.priority}; {stayed}"
    )
