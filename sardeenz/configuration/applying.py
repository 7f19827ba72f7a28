"""Plan and apply: a plan is an application that is undone, so both say the same and refuse the same."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError as RowError
from django.db import IntegrityError, transaction
from rest_framework.exceptions import ValidationError

from models_app.launch_settings import outdated
from models_app.models import Replica
from models_app.policy.plans import what_if
from models_app.policy.plans.outcome import Outcome as Effects
from sardeenz.configuration import reading, versions, words
from sardeenz.configuration import state as states
from sardeenz.configuration.compare import Change, Comparison, Other, State, compare
from sardeenz.configuration.errors import ConfigurationConflict, ConfigurationInvalid, ConfigurationMoved, Problem
from sardeenz.configuration.models import ConfigurationVersion
from sardeenz.configuration.reading import Wanted
from sardeenz.configuration.sections import SECTIONS
from sardeenz.configuration.shapes import WRONG, written
from sardeenz.errors import SardeenzError
from sardeenz.rest.errors import told

MOST_PROBLEMS = 20
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for; `digest` is that of the plan they were shown."""

    document: str
    actor: str
    base: str = ""
    prune: bool = False
    digest: str = ""


@dataclass(slots=True)
class Outcome:
    """What was done, or would be."""

    version: ConfigurationVersion
    base: ConfigurationVersion | None
    comparison: Comparison
    digest: str
    notes: list[str] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    effects: Effects | None = None
    """What the fleet would do, where it was asked for."""


def plan(request: Request) -> Outcome:
    """What `apply` would do now; nothing is changed, and nobody hears of it. Raises as `apply` does."""
    export()
    known = what_if.gather()
    outcomes: list[Outcome] = []
    seen = what_if.imagine(lambda: outcomes.append(_carried_out(request)))
    if seen.error is not None:
        raise seen.error
    outcome = outcomes[0]
    if outcome.comparison.changes:
        outcome.effects = what_if.conclude(seen, known)
    return outcome


def apply(request: Request) -> Outcome:
    """Change the rows as the document says: all of it, or nothing.

    Raises ConfigurationInvalid, ConfigurationConflict where somebody changed the same since its base, and
    ConfigurationMoved where it is not what was shown, FleetBusy where somebody changes the same rows for long.
    """
    with transaction.atomic(), what_if.bounded():
        outcome = _carried_out(request)
        if outcome.comparison.changes:
            base = (outcome.base or outcome.version).number
            outcome.version = versions.record(states.read(), author=request.actor, applied=True, base=base)
    return outcome


def _carried_out(request: Request) -> Outcome:
    wanted = reading.read(request.document)
    versions.lock()
    base, note = versions.base(request.base or wanted.base)
    comparison, now = _settled(wanted, base, prune=request.prune)
    version = versions.seen(now)
    if comparison.conflicts and base is not None:
        _refuse(comparison.conflicts, base)
    digest = _digest(comparison)
    if request.digest and request.digest != digest:
        raise ConfigurationMoved("what would happen is not what was shown any more; look at the plan again")
    outcome = Outcome(version, base, comparison, digest, [note] if note else [])
    if base is not None:
        outcome.notes += [f"{words.other(one, _who(one, base))}; it stays so" for one in comparison.kept]
    if comparison.changes:
        number = version.number + 1
        outcome.notes += _carry_out(comparison.changes, wanted, actor=f"{request.actor} (version {number})")
        outcome.restarts = _restarts(comparison.changes)
    return outcome


def _settled(wanted: Wanted, base: ConfigurationVersion | None, *, prune: bool) -> tuple[Comparison, State]:
    """The comparison with rows that nobody else can change any more."""
    locked: set[tuple[str, str]] = set()
    tries = 0
    while True:
        tries += 1
        now = states.read()
        reading.seal(wanted, now)
        comparison = compare(wanted.state, now, base.rows if base else None, prune=prune)
        touched = {(each.section, each.name) for each in comparison.changes if each.verb != "create"}
        if touched <= locked or tries == _TRIES:
            return comparison, now
        for section in SECTIONS:  # in one order, so that two who do this cannot wait for each other
            for name in sorted(name for where, name in touched if where == section):
                SECTIONS[section].locked(name)
        locked |= touched


def _digest(comparison: Comparison) -> str:
    said_of = [(each.section, each.name, each.verb, each.fields) for each in comparison.changes]
    return hashlib.sha256(json.dumps(said_of, sort_keys=True).encode()).hexdigest()[:16]


def _who(one: Other, base: ConfigurationVersion) -> str:
    return versions.blame(one.section, one.name, one.field, base)


def _refuse(conflicts: list[Other], base: ConfigurationVersion) -> None:
    told = [words.other(one, _who(one, base)) for one in conflicts]
    raise ConfigurationConflict(
        "\n".join([f"others changed since version {base.number} what this document changes too:", *told]),
        conflicts=[
            {"section": one.section, "name": one.name, "field": one.field, "message": text}
            for one, text in zip(conflicts, told, strict=True)
        ],
        base=base.number,
    )


def _carry_out(changes: list[Change], wanted: Wanted, *, actor: str) -> list[str]:
    """Deletions first, then what is named before what names it. Raises ConfigurationInvalid with what was refused."""
    notes, problems = [], []
    for change in [each for each in changes if each.verb == "delete"] + [c for c in changes if c.verb != "delete"]:
        section = SECTIONS[change.section]
        try:
            with transaction.atomic():
                note = section.carry_out(change, actor)
        except (ValidationError, SardeenzError, RowError, IntegrityError) as error:
            problems += _problems(error, change, wanted)
            if len(problems) >= MOST_PROBLEMS:
                break
            continue
        if note:
            notes.append(f"{section.noun} {change.name}: {note}")
    if not problems:
        problems = _contradictions(changes, wanted)
    if problems:
        raise ConfigurationInvalid(*_first_causes(problems, changes))
    return notes


def _contradictions(changes: list[Change], wanted: Wanted) -> list[Problem]:
    """What only shows once everything is as the document says."""
    problems = []
    for change in changes:
        try:
            if change.verb != "delete":
                SECTIONS[change.section].check(change.name)
        except SardeenzError as error:
            problems += _problems(error, change, wanted)
    return problems


def _problems(error: Exception, change: Change, wanted: Wanted) -> list[Problem]:
    where = f"{change.section}.{change.name}"
    if isinstance(error, ValidationError):
        return [
            Problem(wanted.line(change.section, change.name, name), f"{where}.{written(name)}", WRONG, text)
            for name, text in told(error)
        ]
    code = getattr(error, "code", "") if isinstance(error, SardeenzError) else WRONG
    message = error.message if isinstance(error, SardeenzError) else "another row of this name was made meanwhile"
    return [Problem(wanted.line(change.section, change.name), where, code, message)]


def _first_causes(problems: list[Problem], changes: list[Change]) -> list[Problem]:
    """Without those that only follow: what was to be made and was refused is missing for others too."""
    made = [
        f"there is no {SECTIONS[each.section].noun} {each.name!r}"
        for each in changes
        if each.verb == "create" and any(one.where.startswith(f"{each.section}.{each.name}") for one in problems)
    ]
    return [each for each in problems if each.message not in made] or problems


def _restarts(changes: list[Change]) -> list[str]:
    """Which running replicas were started with other settings than they would be now."""
    names: dict[str, set[str]] = {}
    for change in changes:
        names.setdefault(change.section, set()).add(change.name)
    rows = Replica.objects.select_related("deployment__model", "deployment__runtime").order_by("id")
    found = []
    for replica in rows:
        deployment = replica.deployment
        touched = {"deployments": deployment.name, "models": deployment.model.name, "runtimes": deployment.runtime.name}
        if any(name in names.get(section, ()) for section, name in touched.items()) and (parts := outdated(replica)):
            found.append(f"{replica} runs with other settings until it is restarted: {', '.join(parts)}")
    return found


def rollback(number: int, actor: str, digest: str = "") -> Request:
    """The request that brings the configuration of a version back. Raises NoSuchVersion."""
    return Request(versions.find(number).document, actor, prune=True, digest=digest)


def export() -> ConfigurationVersion:
    """The version that is in force; a new one where somebody edited since the last."""
    with transaction.atomic():
        versions.lock()
        return versions.seen(states.read())


def as_row(outcome: Outcome) -> dict[str, Any]:
    """The outcome as the API answers it."""
    return {
        "version": outcome.version.number,
        "base": outcome.base.number if outcome.base else None,
        "plan": outcome.digest,
        "changes": [
            {
                "section": each.section,
                "name": each.name,
                "verb": each.verb,
                "fields": sorted(each.fields),
                "title": words.title(each),
                "sentences": list(words.sentences(each)),
            }
            for each in outcome.comparison.changes
        ],
        "notes": outcome.notes,
        "restarts": outcome.restarts,
        "effects": outcome.effects,
    }
