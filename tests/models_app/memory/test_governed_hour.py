"""An hour of bursts on one GPU, second by second: what engines of kvcached do with their limits is written down here.

An engine maps what its requests need as far as its limit and the device's margin let it; it gives pages back as its
requests end, and an idle one shrinks when told to. Its requests last five seconds.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from models_app.memory import governor
from models_app.memory.governor import Wants, Why, Wish
from models_app.memory.reclaim import PAGES_BYTES, Device, Neighbour, Scene

GIB = 2**30
UUID = "GPU-1"
KV_BYTES = 40 * GIB
"""What the GPU has beside weights and the margin."""
MARGIN_BYTES = 4 * GIB
REQUEST_SECONDS = 5


@dataclass
class Engine:
    """One replica. `load(second)` says how many bytes its callers would fill at that time."""

    number: int
    load: Callable[[int], int]
    weight: int = 1
    priority: int = 0
    floor: int = GIB
    limit: int = 36 * GIB
    mapped: int = GIB // 2
    used: int = 0
    needed: int = 0
    limits: list[int] = field(default_factory=list)

    def serve(self, second: int, free: int) -> int:
        """Map and give back for a second; the bytes by which the device's free memory changed."""
        before = self.mapped
        self.needed = self.load(second)
        ends = self.used // REQUEST_SECONDS
        self.used = min(self.needed, max(self.used - ends, min(self.needed, self.limit, self.mapped + max(free, 0))))
        if self.used > self.mapped:
            self.mapped = self.used
        elif self.mapped > self.limit:
            self.mapped = max(self.used, min(self.limit, self.mapped), GIB // 2)
        return before - self.mapped

    def as_seen(self) -> Neighbour:
        return Neighbour(
            self.number, f"model-{self.number}", frozenset({UUID}), self.mapped, self.floor, self.limit, 36 * GIB
        )


@dataclass
class Hour:
    """The GPU, its governor, and the engines."""

    engines: list[Engine]
    wants: Wants = field(default_factory=Wants)
    changes: int = 0

    @property
    def free(self) -> int:
        return KV_BYTES + MARGIN_BYTES - sum(engine.mapped for engine in self.engines)

    def second(self, now: int) -> dict[int, Why]:
        for engine in self.engines:
            engine.serve(now, self.free - MARGIN_BYTES)
        assert self.free >= 0, "kvcached mapped into its margin"
        seen = {engine.number: engine.as_seen() for engine in self.engines}
        scene = Scene({UUID: Device("GPU 0", self.free, MARGIN_BYTES)}, (), tuple(seen.values()))
        wishes = {engine.number: self.wish(engine, seen[engine.number], now) for engine in self.engines}
        decided = governor.decide(scene, wishes)
        for engine in self.engines:
            if governor.matters(seen[engine.number], decided[engine.number]):
                engine.limit = decided[engine.number].limit_bytes
                self.changes += 1
            engine.limits.append(engine.limit)
        return {number: decision.why for number, decision in decided.items()}

    def wish(self, engine: Engine, seen: Neighbour, now: int) -> Wish:
        waiting = int(engine.needed > engine.used)
        wanted = self.wants.bytes(seen, running=int(engine.needed > 0), waiting=waiting, now=now)
        return Wish(wanted, engine.weight, engine.priority)


def bursts(seed: int, size: int) -> Callable[[int], int]:
    """Half a minute to two of work, and as long a rest, for ever."""
    dice = random.Random(seed)
    busy: list[bool] = []
    while len(busy) < 4000:
        busy += [len(busy) % 2 == 0 if not busy else not busy[-1]] * dice.randint(30, 120)
    return lambda second: size if busy[second] else 0


def test_through_an_hour_of_bursts_each_has_its_share_whenever_it_wants_it() -> None:
    engines = [Engine(1, bursts(1, 30 * GIB), weight=2), Engine(2, bursts(2, 30 * GIB)), Engine(3, bursts(3, 30 * GIB))]
    hour = Hour(engines)
    short: dict[int, int] = {}
    worst = 0
    for now in range(3600):
        hour.second(now)
        busy = [engine for engine in engines if engine.needed]
        weights = sum(engine.weight for engine in busy)
        for engine in engines:
            fair = min(engine.needed, KV_BYTES * engine.weight // weights if busy else 0) if engine.needed else 0
            behind = engine.used < 0.9 * fair - GIB * len(engines)
            short[engine.number] = short.get(engine.number, 0) + 1 if behind else 0
            worst = max(worst, short[engine.number])
    print(f"an hour of bursts: {hour.changes} changes of limits; below its share for {worst} s at most")
    assert worst <= 4 * REQUEST_SECONDS
    assert hour.changes <= 3600


def test_the_heavy_one_has_what_its_weight_says_under_contention() -> None:
    engines = [Engine(1, lambda _: 36 * GIB, weight=3), Engine(2, lambda _: 36 * GIB), Engine(3, lambda _: 36 * GIB)]
    hour = Hour(engines)
    for now in range(600):
        hour.second(now)
    shares = [engine.used / KV_BYTES for engine in engines]
    print(f"weights 3, 1, 1: shares {', '.join(f'{share:.3f}' for share in shares)}")
    floors = 3 * GIB / KV_BYTES
    for share, weight in zip(shares, (3, 1, 1), strict=True):
        assert abs(share - ((1 - floors) * weight / 5 + GIB / KV_BYTES)) <= 0.1 * weight / 5


def test_one_that_works_alone_may_use_all_that_is_free() -> None:
    engines = [
        Engine(1, lambda _: 34 * GIB),
        Engine(2, lambda now: 34 * GIB if now < 60 else 0),
        Engine(3, lambda _: 0),
    ]
    hour = Hour(engines)
    for now in range(120):
        hour.second(now)
    assert engines[0].used == 34 * GIB
    assert {engine.limits[59] < 20 * GIB for engine in engines[:2]} == {True}


def test_limits_follow_a_newcomer_within_two_seconds() -> None:
    engines = [Engine(1, lambda _: 36 * GIB), Engine(2, lambda now: 36 * GIB if now >= 100 else 0)]
    hour = Hour(engines)
    for now in range(103):
        hour.second(now)
    assert engines[0].limits[99] >= 36 * GIB - 2 * PAGES_BYTES
    assert abs(engines[0].limits[102] - KV_BYTES // 2) <= GIB


def test_the_higher_priority_takes_all_but_the_floors() -> None:
    engines = [Engine(1, lambda _: 36 * GIB), Engine(2, lambda now: 36 * GIB if now >= 30 else 0, priority=1)]
    hour = Hour(engines)
    for now in range(120):
        hour.second(now)
    assert engines[1].used == 36 * GIB


def test_requests_that_come_and_go_do_not_make_limits_flutter() -> None:
    engines = [Engine(1, lambda now: (now % 2) * 30 * GIB), Engine(2, lambda now: (now % 3 > 0) * 30 * GIB)]
    hour = Hour(engines)
    for now in range(60):
        hour.second(now)
    settled = hour.changes
    for now in range(60, 660):
        hour.second(now)
    assert hour.changes - settled <= 60
