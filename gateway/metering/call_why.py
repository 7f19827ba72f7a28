"""Where one call's time went, in sentences: its own record joined with what its deployment did meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gateway.errors import CancelledByOperator
from gateway.metering import trail
from gateway.models import UsageRecord
from models_app.policy import why, why_ready
from models_app.policy.why import Entry, Subject
from models_app.policy.why_words import seconds

NOTICED_SECONDS = 0.05
"""Shorter waits are nobody's question."""
ENTRIES = 200

_MET = {"failed": "it had failed", "stopped": "it was stopped", "ready": "its engine accepted no connection"}


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of a call's time."""

    what: str
    seconds: float
    sentence: str


@dataclass(slots=True)
class CallWhy:
    """A call's time from its arrival to its end, in order."""

    record: UsageRecord
    parts: list[Part] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """All of it in a few sentences."""
        record = self.record
        waited = record.wake_seconds + record.queue_seconds
        waits = [part.sentence for part in self.parts if part.what in (trail.MODEL, trail.SEAT, trail.ASKED)]
        rest = [part.sentence for part in self.parts if part.what not in (trail.MODEL, trail.SEAT, trail.ASKED)]
        first = f"Waited {seconds(waited)}: {'; '.join(waits)}." if waits else "Waited for nothing."
        return " ".join([first, *(f"{_capital(one)}." for one in rest)])


def find(request_id: str) -> UsageRecord | None:
    """The latest call of this id; callers may give the same id to several."""
    calls = UsageRecord.objects.filter(request_id=request_id).select_related("key", "team")
    return calls.order_by("-id").first() if request_id else None


def explain(record: UsageRecord) -> CallWhy:
    """What kept the call, step by step, and what the engine took."""
    told, began = CallWhy(record), record.at - timedelta(seconds=record.e2e_seconds)
    seen: dict[tuple[str, str, int | None, datetime], Entry] = {}
    for step in record.trail or ():
        part, entries = _part(step, began)
        if part is not None:
            told.parts.append(part)
        seen |= {(one.kind, one.sentence, one.replica_id, one.at): one for one in entries}
    for name in dict.fromkeys(step["deployment"] for step in record.trail or ()):
        for one in why.timeline(Subject(name), ENTRIES, since=began - why_ready.LEEWAY, until=record.at):
            seen[one.kind, one.sentence, one.replica_id, one.at] = one
    told.entries = sorted(seen.values(), key=lambda one: one.at, reverse=True)
    told.parts += _end(record)
    return told


def _part(step: Mapping[str, Any], began: datetime) -> tuple[Part | None, list[Entry]]:
    """One step of the trail; None for what is told at the end, or was too short to matter."""
    what, took = step["what"], step["seconds"]
    if what == trail.REFUSED or (what != trail.ASKED and took < NOTICED_SECONDS):
        return None, []
    if what == trail.SEAT:
        return Part(what, took, _of_seat(step)), []
    if what == trail.ASKED:
        return Part(what, took, _of_asked(step)), []
    start = began + timedelta(seconds=step["after_seconds"])
    story = why_ready.tell(step["deployment"], start, start + timedelta(seconds=took))
    clauses = story.clauses
    if met := _MET.get(step.get("state", "")):
        clauses = [met, *clauses]
    about = "; ".join(clauses) or "nothing is recorded of what it did meanwhile"
    return Part(what, took, f"{seconds(took)} for `{step['deployment']}` to be ready: {about}"), story.entries


def _of_seat(step: Mapping[str, Any]) -> str:
    """A seat is one of the calls that a deployment lets be in flight."""
    ahead, seats = step.get("ahead") or 0, step.get("seats")
    before = "no call" if ahead == 0 else "1 call" if ahead == 1 else f"{ahead} calls"
    taken = f"all {seats} were taken" if seats is not None else "all were taken"
    return f"{seconds(step['seconds'])} in the queue of `{step['deployment']}` for a seat: {taken}, {before} before it"


def _of_asked(step: Mapping[str, Any]) -> str:
    number = step.get("replica")
    who = why.named(step["deployment"], number) if number is not None else f"`{step['deployment']}`"
    took = f" after {seconds(step['seconds'])}" if step["seconds"] >= NOTICED_SECONDS else ""
    return f"{who} was asked in vain{took} ({step['code']}: {step['message']}), so the call went on elsewhere"


def _end(record: UsageRecord) -> list[Part]:
    """What its engine took, and how the call ended."""
    steps = record.trail or []
    before = sum(step["seconds"] for step in steps)
    parts: list[Part] = []
    if record.replica_id is not None and record.beside is not None:
        until = record.ttft_seconds if record.ttft_seconds is not None else record.e2e_seconds
        took = max(until - before, 0.0)
        what = "its first token" if record.ttft_seconds is not None else "the end"
        beside = "alone there" if record.beside == 0 else f"beside {record.beside} other calls in flight there"
        parts.append(Part("engine", took, f"replica {record.replica_id} took {seconds(took)} until {what}, {beside}"))
    refusal = next((step for step in steps if step["what"] == trail.REFUSED), None)
    how = "was answered" if record.outcome == "ok" else f"ended with {record.outcome} ({record.status})"
    if record.outcome == "cancelled":
        how = "was given up by its caller"
    if record.outcome == CancelledByOperator.code:
        how = "was ended by an operator"
    words = f": {refusal['message'].removesuffix('.')}" if refusal is not None else ""
    parts.append(Part("end", record.e2e_seconds, f"the call {how} after {seconds(record.e2e_seconds)}{words}"))
    return parts


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
