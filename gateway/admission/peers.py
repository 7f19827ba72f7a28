"""Several gateway processes as one: they share limits and seats through an exchange every 0.125 s, 0.5 s at rest.

Each writes its own field of one hash and reads everybody's in one round trip. It writes sums since its start, so that
a missed exchange loses nothing. Who is silent for 2 s is left out; who cannot exchange goes on by itself.

Tolerance. What one process admits, all know within two exchanges, 0.25 s; one at rest asks when its first call comes.
A burst may exceed a limit by what the others admit in that time: debt of the buckets, so that the rate holds over time.
Seats (`max_concurrency`) are not exceeded: each process claims what it may use, and uses more than before only as far
as the claims it reads, after writing its own, leave any. While a process cannot exchange, it holds each limit of keys
and teams by itself, and uses an equal part of the seats.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import structs

from gateway.admission.seats import NOBODY, SeatDemand, agreed
from gateway.limits.limiter import Limiter, Uses
from gateway.outage import Outage

__all__ = ["Exchange", "Peers", "SeatDemand"]

EXCHANGE_SECONDS = 0.125
REST_SECONDS = 0.5
"""Between exchanges while nobody calls any process: most of what an idle gateway would cost."""
CALM_SECONDS = 2.0
"""For so long nothing has changed anywhere before a process rests."""
EXCHANGE_LIMIT_SECONDS = 1.0
STALE_SECONDS = 2.0

Exchange = Callable[[str, bytes], Awaitable[Mapping[str, bytes]]]


class Said(msgspec.Struct, array_like=True, frozen=True):
    """What one process says; `number` makes each word differ from the last.

    Demands and claims are by deployment, what is in flight by a replica's marker.
    """

    number: int
    uses: Uses
    demands: dict[int, SeatDemand]
    claims: dict[int, int]
    in_flight: dict[str, int] = msgspec.field(default_factory=dict)


class Heard(NamedTuple):
    """What another process said last, and when that was new to us."""

    raw: bytes
    said: Said
    at: float


def _nobody(_: Mapping[str, int]) -> None:
    """This function ignores what other processes have in flight, until the server sets `hear_in_flight`."""


class Peers:
    """This process among the others. `demand` tells ours, of each deployment that limits its seats, wanted or not."""

    def __init__(
        self,
        gateway_id: str,
        exchange: Exchange,
        limiter: Limiter,
        demand: Callable[[], Mapping[int, SeatDemand]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway_id = gateway_id
        self._exchange = exchange
        self._limiter = limiter
        self._demand = demand
        self._clock = clock
        self._number = 0
        self._heard: dict[str, Heard] = {}
        self._others: dict[str, Said] = {}
        self._exchanged_at: float | None = None
        self._allowed: dict[int, int] = {}
        self._seen: dict[str, Said] = {}
        self._changed_at = clock()
        self._stirred = asyncio.Event()
        self.resting = False
        """Whether no process has had a call for a while, and exchanges are rarer."""
        self.count = 1
        """How many processes there are, as far as known."""
        self.in_flight: Callable[[], dict[str, int]] = dict
        """What this process has in flight per replica, and, below, who is told what all others have."""
        self.hear_in_flight: Callable[[Mapping[str, int]], None] = _nobody
        self.on_exchange: list[Callable[[], None]] = []
        """Called after each exchange: seats may have become ours, or be gone."""
        self.outage = Outage("sharing limits with other gateways")
        self.strangers = Outage("understanding another gateway")

    @property
    def apart(self) -> bool:
        """Whether this process must go on by itself."""
        return self._exchanged_at is None

    def allowed(self, deployment_id: int, max_concurrency: int) -> int:
        """How many of a deployment's seats this process may use until the next exchange."""
        if self._exchanged_at is None:
            return max(1, max_concurrency // self.count)
        return min(max_concurrency, self._allowed.get(deployment_id, 0 if self._others else max_concurrency))

    async def keep_in_touch(self) -> None:
        """This loop makes an exchange, waits a moment and repeats both until the task is cancelled."""
        while True:
            self._stirred.clear()
            await self.exchange_once()
            with suppress(TimeoutError):
                async with asyncio.timeout(REST_SECONDS if self.resting else EXCHANGE_SECONDS):
                    await self._stirred.wait()

    def stir(self) -> None:
        """A call begins here: one that ends a rest is told to the others at once."""
        if self.resting:
            self.resting = False
            self._stirred.set()

    async def exchange_once(self) -> None:
        """One exchange. Before the first request is taken there should have been one."""
        demands = dict(self._demand())
        agreed_seats = self._agreed(demands)
        # Lowered before it is told, raised after others were heard: nobody uses more than it told.
        self._allowed = {number: min(seats, self._allowed.get(number, 0)) for number, seats in agreed_seats.items()}
        claims = {number: max(seats, demands[number].in_flight) for number, seats in agreed_seats.items()}
        self._number += 1
        said = Said(self._number, self._limiter.said(), demands, claims, self.in_flight())
        with self.outage.watch() as attempt:
            async with asyncio.timeout(EXCHANGE_LIMIT_SECONDS):
                fields = await self._exchange(self._gateway_id, msgspec.json.encode(said))
            self._hear(fields)
            self._raise(agreed_seats, demands)
        if attempt.failed:
            self._go_on_alone()
        self._limiter.hear({name: other.uses for name, other in self._others.items()})
        elsewhere: Counter[str] = Counter()
        for other in self._others.values():
            elsewhere.update(other.in_flight)
        self.hear_in_flight(elsewhere)
        self._rest_or_not(said)
        for call in self.on_exchange:
            call()

    # --- what others say ----------------------------------------------------------------------------------------
    def _hear(self, fields: Mapping[str, bytes]) -> None:
        """Take in what is new. A field that does not change was left behind by somebody who is gone."""
        now = self._exchanged_at = self._clock()
        heard = {}
        for name, raw in fields.items():
            before = self._heard.get(name)
            if before is not None and before.raw == raw:
                heard[name] = before
            elif name != self._gateway_id:
                try:
                    heard[name] = Heard(raw, msgspec.json.decode(raw, type=Said), now)
                except msgspec.MsgspecError as error:  # another version: no peer of ours
                    self.strangers.began(error)
        self._heard = heard
        self._others = {name: each.said for name, each in heard.items() if now - each.at <= STALE_SECONDS}
        self.count = 1 + len(self._others)

    def _go_on_alone(self) -> None:
        """Nothing was heard for too long to rely on; whatever is heard next is new."""
        if self._exchanged_at is not None and self._clock() - self._exchanged_at > STALE_SECONDS:
            self._exchanged_at = None
            self._heard, self._others, self._allowed = {}, {}, {}

    def _rest_or_not(self, said: Said) -> None:
        """Whoever has calls, waits or just used something keeps everybody at the shorter pace."""
        words = {**self._others, self._gateway_id: said}
        before = self._seen
        self._seen = {name: structs.replace(word, number=0, claims={}) for name, word in words.items()}
        busy = any(word.in_flight or any(each.wanted for each in word.demands.values()) for word in words.values())
        if busy or before != self._seen:
            self._changed_at = self._clock()
        self.resting = self._clock() - self._changed_at >= CALM_SECONDS

    # --- seats --------------------------------------------------------------------------------------------------
    def _agreed(self, demands: Mapping[int, SeatDemand]) -> dict[int, int]:
        """How many of each deployment's seats we should use, were everybody to agree."""
        return {
            number: agreed(
                mine.limit,
                {name: said.demands.get(number, NOBODY) for name, said in self._others.items()}
                | {self._gateway_id: mine},
            )[self._gateway_id]
            for number, mine in demands.items()
        }

    def _raise(self, agreed_seats: Mapping[int, int], demands: Mapping[int, SeatDemand]) -> None:
        """Use as much of our share as the others' claims leave."""
        for number, seats in agreed_seats.items():
            claimed = sum(said.claims.get(number, 0) for said in self._others.values())
            left = demands[number].limit - claimed
            self._allowed[number] = min(seats, max(self._allowed[number], left))
