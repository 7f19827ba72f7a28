"""Why a deployment took from one moment to another to be ready, for those who waited for it meanwhile."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from models_app.errors import MemoryHeld, NoCapacity
from models_app.models import Decision, Transition
from models_app.policy import why, why_words
from models_app.policy.verdicts import EVICTED
from models_app.policy.why import Entry
from models_app.states import State
from models_app.traffic.callers import WAITS_FOR_ROOM

LEEWAY = timedelta(seconds=1)
"""Gateways and workers write by clocks of their own."""
BEFORE = 50
"""So many entries of a replica are looked through for what brought it to sleep."""

_FOR_ROOM = (WAITS_FOR_ROOM, NoCapacity.code, MemoryHeld.code)
_AT_REST = {
    State.SLEEPING: "was asleep since",
    State.STOPPED: "had no engine since",
    State.FAILED: "had failed at",
    State.DRAINING: "was about to sleep since",
    State.STOPPING: "was about to stop since",
}
_UNDER_WAY = {
    State.PENDING: "was about to load already",
    State.STARTING: "was loading already",
    State.WAKING: "was waking already",
}


@dataclass(frozen=True, slots=True)
class Story:
    """What happened meanwhile: clauses of one sentence, in order, and the entries that they were made of."""

    clauses: list[str]
    entries: list[Entry]


def tell(deployment_name: str, start: datetime, end: datetime) -> Story:
    """The deployment's own way to ready, and who made room for it."""
    span = (start - LEEWAY, end + LEEWAY)
    history = list(Transition.objects.filter(deployment_name=deployment_name, at__range=span).order_by("id"))
    waits = Decision.objects.filter(deployment_name=deployment_name, at__range=span).order_by("id")
    own = _replica_of(history)
    mine = [each for each in history if own is None or each.replica_id == own]
    rest = [] if own is None else _before(own, start, mine)
    evictions = list(
        Transition.objects.filter(reason=EVICTED, at__range=span, fields__wanted__name=deployment_name).order_by("id")
    )
    asleep = [_asleep_after(eviction) for eviction in evictions]
    clauses = [
        *_met(rest),
        *_waited(mine, end),
        *(_made_room(one, then) for one, then in zip(evictions, asleep, strict=True)),
        *(decision.sentence for decision in waits if decision.kind in (Decision.Kind.WAIT, Decision.Kind.EVICTION)),
        *_progress(mine),
    ]
    rows = {row.pk: row for row in [*rest, *history, *evictions, *asleep] if row is not None}
    entries = [*why.of_transitions(rows.values()), *why.of_decisions(waits)]
    return Story(clauses, sorted(entries, key=lambda entry: entry.at, reverse=True))


def _replica_of(history: list[Transition]) -> int | None:
    """Whose story it is: the one that became ready, else the last that moved."""
    ready = [each for each in history if each.new == State.READY and each.old != State.READY]
    return next((each.replica_id for each in reversed(ready or history) if each.replica_id is not None), None)


def _before(replica_id: int, start: datetime, mine: list[Transition]) -> list[Transition]:
    """How it came to stand where calls met it: the change of its state, and the order that led to it."""
    first = next((each for each in mine if each.at >= start - LEEWAY / 4), None)
    earlier = Q(at__lt=start) if first is None else Q(pk__lt=first.pk)
    entries = list(Transition.objects.filter(earlier, replica=replica_id).order_by("-id")[:BEFORE])
    change = next((each for each in entries if each.old != each.new), None)
    if change is None:
        return []
    order = next((each for each in entries if each.pk < change.pk and each.old == each.new), None)
    return [change] if order is None or change.new in _UNDER_WAY else [change, order]


def _met(rest: list[Transition]) -> list[str]:
    """In which state it was met, and why it was in it."""
    if not rest:
        return []
    change, name = rest[0], why.named(rest[0].deployment_name, rest[0].replica_id)
    if change.new in _UNDER_WAY:
        return [f"{name} {_UNDER_WAY[State(change.new)]}"]
    if change.new not in _AT_REST:
        return []
    cause = _because(rest[1] if len(rest) > 1 else change, change)
    return [f"{name} {_AT_REST[State(change.new)]} {why_words.clock(change.at)}" + (f" ({cause})" if cause else "")]


def _because(order: Transition, change: Transition) -> str:
    if change.message:
        return change.message.strip().removesuffix(".")
    if order.message:
        return order.message.strip().removesuffix(".")
    if order.reason in ("sleep", "stop"):
        return f"{order.reason} was asked for by {why_words.who(order.actor)}"
    return order.reason.replace("_", " ")


def _asleep_after(eviction: Transition) -> Transition | None:
    later = Transition.objects.filter(replica=eviction.replica_id, pk__gt=eviction.pk)
    return later.filter(new=State.SLEEPING).exclude(old=State.SLEEPING).order_by("id").first()


def _made_room(eviction: Transition, asleep: Transition | None) -> str:
    """Who went for it, how long that took, and by which rule."""
    name = why.named(eviction.deployment_name, eviction.replica_id)
    took = f" ({why_words.seconds((asleep.at - eviction.at).total_seconds())})" if asleep is not None else ""
    rule = eviction.message.partition(": ")[2] or eviction.message
    stay = why_words.spared(eviction.fields)
    return f"{name} was put to sleep first{took}, for it was {rule}" + (f", {stay}" if stay else "")


def _waited(mine: list[Transition], end: datetime) -> Iterable[str]:
    """For room or memory, each with how long."""
    for place, each in enumerate(mine):
        if each.reason in _FOR_ROOM and each.message:
            until = mine[place + 1].at if place + 1 < len(mine) else end
            span = max((until - each.at).total_seconds(), 0.0)
            yield f"it waited {why_words.seconds(span)}: {each.message.removesuffix('.')}"


def _progress(mine: list[Transition]) -> Iterable[str]:
    """What its engine did meanwhile, with how long each took."""
    words = {State.WAKING: "woke in", State.STARTING: "loaded in"}
    entered: dict[int | None, Transition] = {}
    for each in mine:
        if each.old == each.new:
            continue
        name = why.named(each.deployment_name, each.replica_id)
        began = entered.get(each.replica_id)
        if each.new == State.READY and each.old in words and began is not None:
            yield f"{name} {words[State(each.old)]} {why_words.seconds((each.at - began.at).total_seconds())}"
        elif each.new == State.FAILED:
            yield f"{name} failed: {each.message.removesuffix('.')}"
        entered[each.replica_id] = each
