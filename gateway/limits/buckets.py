"""A bucket of N per minute, as one number: the moment at which it is full again.

Taking n moves that moment n * 60/N seconds on, giving back moves it back; a moment more than a minute away is debt.
"""

from math import ceil

MINUTE = 60.0
ROUNDING = 1e-6
"""Seconds: more than sums of floats lose, and too little to let one more of ten million per minute through."""
ROOM = MINUTE + ROUNDING


class Bucket:
    """So many per minute, refilled evenly. Without a limit nothing is ever missing."""

    __slots__ = ("_lines", "_what", "cost", "full_at", "limit")

    def __init__(self, what: str) -> None:
        self._what = what
        self.full_at = 0.0
        self.allow(None)

    def allow(self, limit: int | None) -> None:
        """Set the limit; the bucket stays as full as it was, in parts of the whole."""
        self.limit = limit or 0
        self.cost = MINUTE / limit if limit else 0.0
        names = [f"x-ratelimit-{which}-{self._what}: " for which in ("limit", "remaining", "reset")]
        self._lines = "{}{}\r\n{}%d\r\n{}%b\r\n".format(names[0], self.limit, *names[1:]).encode()

    def wait(self, count: int, now: float) -> float:
        """Seconds until so many may be taken. More than it holds may be taken when it is full, and leave a debt."""
        if not self.limit:
            return 0.0
        wait = self.full_at - now + min(count * self.cost, MINUTE) - MINUTE
        return wait if wait > ROUNDING else 0.0

    def take(self, count: int, now: float) -> None:
        """Take, or give back where negative."""
        full_at = self.full_at
        self.full_at = (full_at if full_at > now or count < 0 else now) + count * self.cost

    def fill_by(self, at: float) -> None:
        """Somebody who may know more says that it is not full before then."""
        if at > self.full_at:
            self.full_at = at

    def full_in(self, now: float) -> float:
        """Seconds until it is full."""
        return self.full_at - now if self.full_at > now else 0.0

    def lines(self, now: float) -> bytes:
        """Headers as OpenAI has them: the limit, what remains, and how long until all of it does."""
        remaining = min(self.limit, max(0, int((now + ROOM - self.full_at) / self.cost)))
        return self._lines % (remaining, duration(self.full_at - now))


def tighter(one: Bucket, other: Bucket, now: float) -> bytes:
    """The header lines of the one of which less remains; none where there is no limit."""
    if not one.limit or not other.limit or one is other:
        return one.lines(now) if one.limit else other.lines(now) if other.limit else b""
    at = now + ROOM
    less = other if (at - other.full_at) / other.cost < (at - one.full_at) / one.cost else one
    return less.lines(now)


def duration(seconds: float) -> bytes:
    """`0s`, `20ms`, `1s`, `6m0s`: rounded up, so that who waits this long has waited enough."""
    if seconds <= 0.0:
        return b"0s"
    if seconds < 1.0:
        return b"%dms" % ceil(seconds * 1000)
    whole = ceil(seconds - ROUNDING)
    return b"%ds" % whole if whole < MINUTE else b"%dm%ds" % divmod(whole, 60)
