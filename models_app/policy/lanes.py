"""How the replicas of a deployment stood over time, as a timeline draws it: a lane for each, and what was edited."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

from models_app.models import Replica, Transition
from models_app.policy import why_words

MOST_CHANGES = 2000
"""So many changes are looked at; of a busier span the latest."""


class LaneSpan(TypedDict):
    """A stretch in one state, and why it began; null where it goes on."""

    state: str
    since: str
    until: str | None
    sentence: str


class ReplicaLane(TypedDict):
    """One replica, which may be gone."""

    replica: int
    gone: bool
    spans: list[LaneSpan]


class LaneMark(TypedDict):
    """What a person changed of the deployment."""

    at: str
    sentence: str


class Lanes(TypedDict):
    """What is known from `since` on, which is later than asked for where there were too many changes."""

    deployment: str
    since: str
    until: str
    lanes: list[ReplicaLane]
    marks: list[LaneMark]


def of_deployment(name: str, since: datetime, until: datetime) -> Lanes:
    """The lanes of every replica that stood in this span."""
    own = Transition.objects.filter(deployment_name=name)
    newest = list(own.filter(at__gte=since, at__lt=until).order_by("-id")[:MOST_CHANGES])
    if len(newest) == MOST_CHANGES:
        since = newest[-1].at
    changes = newest[::-1]
    before = own.filter(at__lt=since, replica__isnull=False).order_by("replica_id", "-id").distinct("replica_id")
    there = set(Replica.objects.filter(deployment__name=name).values_list("pk", flat=True))
    by_replica: dict[int, list[Transition]] = {}
    for row in [*(one for one in before if one.replica_id in there), *changes]:
        if row.replica_id is not None:
            by_replica.setdefault(row.replica_id, []).append(row)
    return {
        "deployment": name,
        "since": since.isoformat(),
        "until": until.isoformat(),
        "lanes": [
            {"replica": number, "gone": number not in there, "spans": spans(rows, since, gone=number not in there)}
            for number, rows in sorted(by_replica.items())
        ],
        "marks": [_mark(row) for row in changes if row.replica_id is None],
    }


def _mark(row: Transition) -> LaneMark:
    return {"at": row.at.isoformat(), "sentence": why_words.sentence(row.deployment_name, row)}


def spans(rows: Iterable[Transition], since: datetime, *, gone: bool) -> list[LaneSpan]:
    """One for each state; another goal in the same state begins none. One that is gone ends with its last change."""
    found: list[LaneSpan] = []
    last = since
    for row in rows:
        last = max(row.at, since)
        if not row.new or (found and found[-1]["state"] == row.new):
            continue
        begins = last.isoformat()
        if found and found[-1]["since"] == begins:
            found.pop()  # it lasted no time
        elif found:
            found[-1]["until"] = begins
        sentence = why_words.sentence(f"{row.deployment_name}/{row.replica_id}", row)
        found.append({"state": row.new, "since": begins, "until": None, "sentence": sentence})
    if gone and found:
        found[-1]["until"] = last.isoformat()
    return found
