"""Calls refused before any model was asked: bad keys, unknown models and paths. No usage record tells of them, so they
are counted here, and operators see who asks in vain for what."""

import time

import msgspec

MOST = 200
"""Rows one process keeps; the one that was met longest ago makes way."""


class Refusal(msgspec.Struct, array_like=True):
    """Calls that were refused alike: `about` is a model, a path or the beginning of a key. Instants are Unix times."""

    code: str
    about: str
    key_id: int | None
    count: int
    first_at: float
    last_at: float


class Refused:
    """`counts` covers all refusals since the process started; of the single rows only the newest are kept."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """By code, since the start."""
        self._rows: dict[tuple[str, str, int | None], Refusal] = {}
        self._changed = False

    def note(self, code: str, about: str, key_id: int | None = None) -> None:
        """One refused call is counted; `about` is the name or path asked for, and the oldest row goes beyond MOST."""
        now = time.time()
        self.counts[code] = self.counts.get(code, 0) + 1
        place = code, about, key_id
        row = self._rows.pop(place, None) or Refusal(code, about, key_id, 0, now, now)
        row.count += 1
        row.last_at = now
        self._rows[place] = row  # the newest is last
        if len(self._rows) > MOST:
            del self._rows[next(iter(self._rows))]
        self._changed = True

    def news(self) -> bytes | None:
        """All rows, where any changed since this was asked last."""
        if not self._changed:
            return None
        self._changed = False
        return msgspec.json.encode(list(self._rows.values()))

    def unsaid(self) -> None:
        """What was asked last could not be written."""
        self._changed = True
