"""How long calls took for half of them and for all but a twentieth, by single calls: older ones are only sums."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

from django.utils import timezone

from gateway.metering import spread_read
from gateway.metering.spread import Spread, quantiles
from gateway.metering.spread_read import Sought
from gateway.metering.spread_rows import COLUMNS, DAY, HOUR
from gpus.samples import EPOCH

QUANTILES = {
    "ttft_p50_seconds": ("ttft", 0.5),
    "ttft_p95_seconds": ("ttft", 0.95),
    "e2e_p50_seconds": ("e2e", 0.5),
    "e2e_p95_seconds": ("e2e", 0.95),
}
"""Time to the first content, of every stream that had some; duration, of calls that ended well."""
BATCH = 1000
"""So many rows of hours or days have their quantiles read at once."""
END = datetime(9000, 1, 1, tzinfo=UTC)

Row = tuple[Any, ...]


def sought(asked: dict[str, Any]) -> Sought:
    """The calls of all hours that begin in the span asked for, of one key, team or model."""
    return Sought(
        since=_hour_from(asked.get("since", EPOCH)),
        until=_hour_from(asked.get("until", END)),
        measures=("ttft", "e2e"),
        narrowed=narrowed(asked),
    )


def narrowed(asked: dict[str, Any]) -> dict[str, Any]:
    """The values of those of a model, a team and a key that are asked for."""
    ids = {"model": asked.get("model"), "team": asked["team"].pk if "team" in asked else None, "key": asked.get("key")}
    return {name: value for name, value in ids.items() if value}


def _hour_from(moment: datetime) -> datetime:
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if hour == moment else hour + timedelta(hours=1)


def of_all(calls: Sought) -> dict[str, float | None]:
    """Of all of them together."""
    return quantiles(spread_read.read(calls, timezone.now()).get((None,), {}), QUANTILES)


def beside(rows: Iterable[Row], fields: Sequence[str], calls: Sought) -> Iterator[Row]:
    """Each row with the quantiles of its group, which its first columns tell: `fields`. Rows of hours or days come in
    their order, and those of some days are read at a time."""
    step = HOUR if "hour" in fields else DAY if "day" in fields else None
    by = tuple(name for name, field in _FIELDS.items() if field in fields)
    places = [fields.index(_FIELDS[name]) for name in by]
    moment = fields.index("hour" if step == HOUR else "day") if step else None
    grouped = replace(calls, by=by, step_seconds=step)
    found = None if step else spread_read.read(grouped, timezone.now())
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        begins = [None if moment is None else _instant(row[moment]) for row in batch]
        spreads = found if found is not None else _within(grouped, begins)
        for row, begin in zip(batch, begins, strict=True):
            spread: Spread = spreads.get((begin, *(row[place] for place in places)), {})
            yield (*row, *quantiles(spread, QUANTILES).values())


_FIELDS = {name: name if name != "model" else column for name, column in COLUMNS.items()}


def _instant(moment: datetime | date) -> datetime:
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


def _within(calls: Sought, begins: Sequence[datetime | None]) -> dict[spread_read.Group, Spread]:
    """Of the steps from the earliest of these to the latest."""
    known = [begin for begin in begins if begin is not None]
    last = max(known) + timedelta(seconds=calls.step_seconds or 0)
    since, until = max(calls.since, min(known)), min(calls.until, last)
    return spread_read.read(replace(calls, since=since, until=until), timezone.now())
