"""What one key or team used, against what it may: per minute, at once, per day and per month.

Pure: times are given. A budget counts what the database has summed, what ended here or elsewhere since, and the tokens
that calls in flight may still use; the call that crosses it is let through, the next one is not.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import NamedTuple

import msgspec

from gateway.errors import BudgetExceeded, ConcurrencyLimit, RequestLimit, TokenLimit
from gateway.limits.buckets import MINUTE, Bucket, tighter
from sardeenz.errors import LimitExceeded

DAY = 86400.0
SOON = 1.0
"""When to ask again for what ends with somebody's call: nobody knows better."""
IDLE_SECONDS = 60.0
"""An account is forgotten after this: far longer than an exchange and a reading of the sums, so nobody misses a use."""


class Quota(NamedTuple):
    """What somebody may use; None means no limit. Days and months are UTC's; tokens are prompt and completion."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    gpu_seconds_per_day: float | None = None
    gpu_seconds_per_month: float | None = None


UNLIMITED = Quota()


class Spent(NamedTuple):
    """Sums of one key or team in the current UTC day and month, as the database has them."""

    day_tokens: int = 0
    month_tokens: int = 0
    day_gpu_seconds: float = 0.0
    month_gpu_seconds: float = 0.0

    def of_a_new_day(self) -> "Spent":
        """The sums of the day start at zero; the sums of the month stay."""
        return Spent(month_tokens=self.month_tokens, month_gpu_seconds=self.month_gpu_seconds)


BUDGETS = {
    "tokens_per_month": "month_tokens",
    "gpu_seconds_per_month": "month_gpu_seconds",
    "tokens_per_day": "day_tokens",
    "gpu_seconds_per_day": "day_gpu_seconds",
}
"""Each budget of a quota and its sum in `Spent`; what lasts longest comes first."""


class Use(msgspec.Struct, array_like=True, frozen=True):
    """What one process says of one key or team: sums of what has ended since `born`, and what is so now."""

    born: int
    requests: int
    tokens: int
    gpu_seconds: float
    reserved: int
    in_flight: int
    requests_full_in: float
    tokens_full_in: float
    guessed: int = 0
    """Tokens of calls nobody has counted yet: taken from the minute, no part of a budget."""


NEW = Use(0, 0, 0, 0.0, 0, 0, 0.0, 0.0)


class Calendar:
    """The current UTC day and month."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.month_ends = 0.0
        self.roll_over()

    @property
    def over(self) -> bool:
        """Whether the day has ended."""
        return self._clock() >= self.day_ends

    def roll_over(self) -> bool:
        """Make it today's, and tell whether the month is a new one."""
        month_ended = self._clock() >= self.month_ends
        today = datetime.fromtimestamp(self._clock(), UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.day_began = today.timestamp()
        self.day_ends = self.day_began + DAY
        self.month_ends = (today.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
        return month_ended

    def left(self, budget: str) -> float:
        """Seconds until this budget begins anew."""
        return (self.month_ends if budget.endswith("month") else self.day_ends) - self._clock()


class Account:
    """What one key or team used: here, and elsewhere as last heard."""

    __slots__ = (
        "at_once", "born", "elsewhere", "gpu_base", "gpu_heard", "gpu_seconds", "gpu_until", "guessed", "in_flight",
        "marked", "marked_heard", "quota", "requests", "requests_per_minute", "reserved", "reserved_elsewhere",
        "spent", "tokens", "tokens_base", "tokens_heard", "tokens_per_minute", "tokens_until", "used_at",
        "whose",
    )  # fmt: skip

    def __init__(self, whose: str, spent: Spent) -> None:
        self.whose = whose
        self.spent = spent
        self.born = 0  # stays 0 while only other processes were called
        self.used_at = 0.0
        self.requests_per_minute = Bucket("requests")
        self.tokens_per_minute = Bucket("tokens")
        self.requests = self.tokens = self.guessed = self.reserved = self.in_flight = 0
        self.elsewhere = self.reserved_elsewhere = 0
        self.gpu_seconds = 0.0
        self.tokens_heard, self.gpu_heard = self.marked_heard = (0, 0.0)
        self.tokens_base, self.gpu_base = self.marked = (0, 0.0)
        self.allow(UNLIMITED)

    def allow(self, quota: Quota) -> None:
        """The new limits count against what was used before; the buckets stay as full as the old limits left them."""
        self.quota = quota
        self.requests_per_minute.allow(quota.requests_per_minute)
        self.tokens_per_minute.allow(quota.tokens_per_minute)
        self.at_once = inf if quota.concurrent_requests is None else quota.concurrent_requests
        self._set_budgets()

    # --- one call -----------------------------------------------------------------------------------------------
    def admit(self, tokens: int, now: float, calendar: Calendar) -> None:
        """One call begins; how many tokens it takes is an estimate. Raises what stands against it."""
        requests, by_tokens, at_most = self.requests_per_minute, self.tokens_per_minute, now + MINUTE
        requests_full_at = max(now, requests.full_at) + requests.cost
        tokens_full_at = max(now, by_tokens.full_at) + tokens * by_tokens.cost
        if (
            requests_full_at > at_most
            or tokens_full_at > at_most
            or self.in_flight + self.elsewhere >= self.at_once
            or self.tokens + self.tokens_heard + self.reserved + self.reserved_elsewhere >= self.tokens_until
            or self.gpu_seconds + self.gpu_heard >= self.gpu_until
        ):
            self._check(tokens, now, calendar)
        requests.full_at, by_tokens.full_at = requests_full_at, tokens_full_at
        self.in_flight += 1
        self.requests += 1
        self.reserved += tokens

    def _check(self, tokens: int, now: float, calendar: Calendar) -> None:
        """Raise what stands against one more call; there may be nothing."""
        if (
            self.tokens + self.tokens_heard + self.reserved + self.reserved_elsewhere >= self.tokens_until
            or self.gpu_seconds + self.gpu_heard >= self.gpu_until
        ):
            raise self._over_budget(now, calendar)
        if wait := self.requests_per_minute.wait(1, now):
            raise self._refusal(RequestLimit, "requests_per_minute", min(wait, MINUTE), now)
        if wait := self.tokens_per_minute.wait(tokens, now):
            raise self._refusal(TokenLimit, "tokens_per_minute", min(wait, MINUTE), now)
        if self.in_flight + self.elsewhere >= self.at_once:
            raise self._refusal(ConcurrencyLimit, "concurrent_requests", SOON, now)

    def take_back(self, tokens: int, now: float) -> None:
        """The call that has just begun does not: somebody else's limit stands against it."""
        self.in_flight -= 1
        self.requests -= 1
        self.reserved -= tokens
        self.requests_per_minute.take(-1, now)
        self.tokens_per_minute.take(-tokens, now)

    def settle(self, reserved: int, tokens: int | None, gpu_seconds: float, now: float) -> None:
        """It has ended, and took so much. Without `tokens` the estimate stays taken from this minute."""
        self.in_flight -= 1
        self.reserved -= reserved
        self.gpu_seconds += gpu_seconds
        self.used_at = now
        if tokens is None:
            self.guessed += reserved
            return
        self.tokens += tokens
        bucket, more = self.tokens_per_minute, tokens - reserved
        if more > 0 and bucket.full_at < now:
            bucket.full_at = now
        bucket.full_at += more * bucket.cost

    def _refusal(self, kind: type[LimitExceeded], name: str, wait: float, now: float) -> LimitExceeded:
        return kind(
            f"this {self.whose}'s limit of {getattr(self.quota, name):,} {name.replace('_', ' ')} is reached",
            limit=f"{self.whose} {name}",
            retry_after_seconds=wait,
            headers=[tuple(line.split(b": ")) for line in lines(self, self, now).splitlines()],
        )

    # --- budgets ------------------------------------------------------------------------------------------------
    def _over_budget(self, now: float, calendar: Calendar) -> LimitExceeded:
        name = self._used_up(0)
        if name:
            return self._refusal(BudgetExceeded, name, min(calendar.left(name), DAY), now)
        # Only what calls in flight may still use stands against it, and some of that may come back.
        return self._refusal(BudgetExceeded, self._used_up(self.reserved + self.reserved_elsewhere), SOON, now)

    def _used_up(self, reserved: int) -> str:
        """The budget that is used up, or nothing."""
        tokens = self.tokens + self.tokens_heard - self.tokens_base + reserved
        gpu_seconds = self.gpu_seconds + self.gpu_heard - self.gpu_base
        for name, since in BUDGETS.items():
            limit = getattr(self.quota, name)
            used = getattr(self.spent, since) + (tokens if since.endswith("tokens") else gpu_seconds)
            if limit is not None and used >= limit:
                return name
        return ""

    def _set_budgets(self) -> None:
        """How far the sums of what ended here and elsewhere may grow until a budget is used up."""
        quota, spent = self.quota, self.spent
        self.tokens_until = self.tokens_base + min(
            _left(quota.tokens_per_day, spent.day_tokens), _left(quota.tokens_per_month, spent.month_tokens)
        )
        self.gpu_until = self.gpu_base + min(
            _left(quota.gpu_seconds_per_day, spent.day_gpu_seconds),
            _left(quota.gpu_seconds_per_month, spent.month_gpu_seconds),
        )

    def mark(self) -> None:
        """What ended here is in the sums to be read next; what ended elsewhere may be written one reading later."""
        tokens, gpu_seconds = self.marked_heard
        self.marked = (self.tokens + tokens, self.gpu_seconds + gpu_seconds)
        self.marked_heard = (self.tokens_heard, self.gpu_heard)

    def set_spent(self, spent: Spent) -> None:
        """The sums were read, after the last `mark`."""
        self.spent = spent
        self.tokens_base, self.gpu_base = self.marked
        self._set_budgets()

    def roll_over(self, *, month: bool) -> None:
        """A new day and maybe month: what was used before counts no more."""
        self.marked_heard = (self.tokens_heard, self.gpu_heard)
        self.marked = (self.tokens + self.tokens_heard, self.gpu_seconds + self.gpu_heard)
        self.set_spent(Spent() if month else self.spent.of_a_new_day())

    # --- other processes ----------------------------------------------------------------------------------------
    def said(self, now: float) -> Use:
        """Peers send this to the other processes; `now` is on the limiter's clock, in seconds."""
        return Use(
            self.born,
            self.requests,
            self.tokens,
            self.gpu_seconds,
            self.reserved,
            self.in_flight,
            self.requests_per_minute.full_in(now),
            self.tokens_per_minute.full_in(now),
            self.guessed,
        )

    def forget_others(self) -> None:
        """Before all of them are heard again."""
        self.elsewhere = self.reserved_elsewhere = 0
        if not self.born:
            self.requests_per_minute.full_at = self.tokens_per_minute.full_at = 0.0

    def hear(self, use: Use, before: Use | None, now: float) -> None:
        """What one process says, and said before; None if it was not heard before."""
        self.elsewhere += use.in_flight
        self.reserved_elsewhere += use.reserved
        if use != before:
            self.used_at = now
        if before is None or not self.born:
            # The emptier of two buckets has seen more.
            self.requests_per_minute.fill_by(now + use.requests_full_in)
            self.tokens_per_minute.fill_by(now + use.tokens_full_in)
        if before is None:
            return
        if before.born != use.born:
            before = NEW
        if self.born:
            self.requests_per_minute.take(use.requests - before.requests, now)
            self.tokens_per_minute.take(_taken(use) - _taken(before), now)
        self.tokens_heard += use.tokens - before.tokens
        self.gpu_heard += use.gpu_seconds - before.gpu_seconds

    def idle(self, now: float) -> bool:
        """Whether nothing is lost when it is forgotten."""
        buckets = self.requests_per_minute, self.tokens_per_minute
        return (
            not self.in_flight
            and now - self.used_at > IDLE_SECONDS
            and all(bucket.full_at <= now for bucket in buckets)
        )


def _taken(use: Use) -> int:
    return use.tokens + use.reserved + use.guessed


def _left(limit: float | None, spent: float) -> float:
    return inf if limit is None else limit - spent


def lines(one: Account, other: Account, now: float) -> bytes:
    """Headers that say what is left this minute, to the tighter of the two."""
    return tighter(one.requests_per_minute, other.requests_per_minute, now) + tighter(
        one.tokens_per_minute, other.tokens_per_minute, now
    )
