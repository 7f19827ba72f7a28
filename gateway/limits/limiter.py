"""What keys and teams may use: per minute, at once, per day and per month. Pure: no I/O, and clocks are given.

What other processes used arrives a moment late (`Limiter.hear`) and is taken from the same buckets: debt at worst, so
that the rate holds over time.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from gateway.limits.accounts import NEW, UNLIMITED, Account, Calendar, Quota, Spent, Use, lines
from sardeenz.errors import LimitExceeded

__all__ = ["Charge", "KnownTeam", "Limiter", "Quota", "Spent", "Uses"]


class KnownTeam(NamedTuple):
    """What the path needs of a team."""

    id: int
    name: str
    weight: int
    priority: int
    quota: Quota


class Caller(Protocol):
    """What limits need of a key."""

    @property
    def id(self) -> int:
        """This is the id of the key's row in the database."""

    @property
    def quota(self) -> Quota:
        """These limits are the key's own; the limits of the key's team hold besides."""

    @property
    def team(self) -> KnownTeam | None:
        """The limits of this team hold besides the key's own; None means that the key has no team."""


class Uses(msgspec.Struct, array_like=True, frozen=True):
    """What one process says of everybody with limits who called it lately, by id."""

    keys: dict[int, Use]
    teams: dict[int, Use]


class Charge(msgspec.Struct, frozen=True, eq=False):
    """One admitted call: whose it is, and the headers of its answer that tell of their limits."""

    key: Account | None
    team: Account | None
    tokens: int
    lines: bytes


FREE = Charge(None, None, 0, b"")
"""Of everybody without limits."""


class Limiter:
    """The limits of all keys and teams, in this process."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._calendar = Calendar(wall_clock)
        self._keys = Accounts("key")
        self._teams = Accounts("team")
        self._heard: Mapping[str, Uses] = {}

    def admit(self, key: Caller, tokens: int) -> Charge:
        """Let one call begin that may take so many tokens, prompt and completion.

        Raises RequestLimit, TokenLimit, ConcurrencyLimit or BudgetExceeded, and has charged nothing then.
        """
        team = key.team
        mine = self._keys.of(key.id, key.quota)
        ours = None if team is None else self._teams.of(team.id, team.quota)
        one, other = mine or ours, ours or mine
        if one is None or other is None:
            return FREE
        now = self._clock()
        one.admit(tokens, now, self._calendar)
        if other is not one:
            try:
                other.admit(tokens, now, self._calendar)
            except LimitExceeded:
                one.take_back(tokens, now)
                raise
        return Charge(mine, ours, tokens, lines(one, other, now))

    def settle(self, charge: Charge, tokens: int | None, gpu_seconds: float) -> None:
        """A call has ended: exactly once for each charge. Without `tokens` the estimate stays, for this minute only."""
        if charge is FREE:
            return
        now = self._clock()
        if charge.key is not None:
            charge.key.settle(charge.tokens, tokens, gpu_seconds, now)
        if charge.team is not None:
            charge.team.settle(charge.tokens, tokens, gpu_seconds, now)

    def _roll_over(self) -> None:
        """Begin a new day, and maybe month."""
        month = self._calendar.roll_over()
        self._keys.roll_over(month=month)
        self._teams.roll_over(month=month)

    # --- budgets ------------------------------------------------------------------------------------------------
    def mark(self) -> None:
        """Call before usage is written and its sums are read: what has ended by now is about to be in those."""
        for account in (*self._keys.values(), *self._teams.values()):
            account.mark()

    def set_spent(self, keys: Mapping[int, Spent], teams: Mapping[int, Spent], at: float) -> None:
        """The sums of the UTC day and month of `at` (Unix time), read after `mark` and a write of all usage."""
        if self._calendar.over:
            self._roll_over()
        if at >= self._calendar.day_began:
            self._keys.set_spent(keys)
            self._teams.set_spent(teams)

    # --- other processes ----------------------------------------------------------------------------------------
    def said(self) -> Uses:
        """For the others: who called here lately; who did not is forgotten. A new day is noticed here."""
        if self._calendar.over:
            self._roll_over()
        now = self._clock()
        return Uses(self._keys.said(now), self._teams.said(now))

    def hear(self, others: Mapping[str, Uses]) -> None:
        """What all other processes say, as far as they live."""
        now = self._clock()
        self._keys.forget_others()
        self._teams.forget_others()
        for name, uses in others.items():
            before = self._heard.get(name)
            self._keys.hear(uses.keys, before.keys if before else None, now)
            self._teams.hear(uses.teams, before.teams if before else None, now)
        self._heard = dict(others)


class Accounts(dict[int, Account]):
    """Those of all keys, or of all teams."""

    def __init__(self, whose: str) -> None:
        super().__init__()
        self._whose = whose
        self._spent: Mapping[int, Spent] = {}
        self._born = 0

    def of(self, number: int, quota: Quota) -> Account | None:
        """The account of somebody who calls this process; none where there is no limit."""
        account = self.get(number)
        if account is not None and account.quota is quota and account.born:
            return account
        return None if quota == UNLIMITED else self._own(number, quota)

    def _own(self, number: int, quota: Quota) -> Account:
        account = self.get(number)
        if account is None or not account.born:
            account = account or self._open(number)
            self._born += 1
            account.born = self._born
        if account.quota is not quota:
            account.allow(quota)
        return account

    def _open(self, number: int) -> Account:
        account = self[number] = Account(self._whose, self._spent.get(number, Spent()))
        return account

    def roll_over(self, *, month: bool) -> None:
        """A new day, and maybe month."""
        self._spent = {} if month else {number: spent.of_a_new_day() for number, spent in self._spent.items()}
        for account in self.values():
            account.roll_over(month=month)

    def set_spent(self, spent: Mapping[int, Spent]) -> None:
        """Each account takes over the sums read from the database; zeros stand for an account that `spent` lacks."""
        self._spent = spent
        for number, account in self.items():
            account.set_spent(spent.get(number, Spent()))

    def said(self, now: float) -> dict[int, Use]:
        """Of those who called this process lately; the others are forgotten."""
        for number in [number for number, account in self.items() if account.idle(now)]:
            del self[number]
        return {number: account.said(now) for number, account in self.items() if account.born}

    def forget_others(self) -> None:
        """Before all other processes are heard again."""
        for account in self.values():
            account.forget_others()

    def hear(self, uses: Mapping[int, Use], before: Mapping[int, Use] | None, now: float) -> None:
        """What one process says, and said before."""
        for number, use in uses.items():
            account = self.get(number) or self._open(number)
            account.hear(use, None if before is None else before.get(number, NEW), now)
