"""Versions: the whole configuration at one moment, with who made it so and what changed."""

import difflib
from collections.abc import Iterator
from typing import Final

from django.db import connection
from django.utils import timezone

from models_app.api.edits import REASON
from models_app.models import Transition
from sardeenz.configuration import state as states
from sardeenz.configuration.compare import State
from sardeenz.configuration.errors import NoSuchVersion
from sardeenz.configuration.models import ConfigurationVersion
from sardeenz.configuration.sections import SECTIONS

KEPT: Final = 500
_ANOTHER_VALUE: Final = "  (the value of a secret changed)"
_LOCK: Final = 0x5A7DEE
"""Whoever writes a version holds this lock of the database until the transaction ends."""


def lock() -> None:
    """One at a time from here on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def latest() -> ConfigurationVersion | None:
    """The version that is in force; nothing before the first."""
    return ConfigurationVersion.objects.first()


def find(number: int) -> ConfigurationVersion:
    """The version of this number. Raises NoSuchVersion."""
    version = ConfigurationVersion.objects.filter(number=number).first()
    if version is None:
        raise NoSuchVersion(f"there is no version {number}; `sardeenz versions` lists them", version=number)
    return version


def seen(now: State) -> ConfigurationVersion:
    """The version that is in force: the newest, or a new one where somebody edited since. Call it under the lock."""
    newest = latest()
    if newest is not None and newest.rows == now:
        return newest
    return record(now, author=_editors(newest), applied=False)


def _editors(since: ConfigurationVersion | None) -> str:
    """Who edited deployments since that version, as the history tells; nobody where it does not."""
    entries = Transition.objects.filter(reason=REASON)
    if since is not None:
        entries = entries.filter(at__gte=since.at)
    return ", ".join(sorted(set(entries.values_list("actor", flat=True))))[:200]


def record(now: State, *, author: str, applied: bool, base: int | None = None) -> ConfigurationVersion:
    """Write the configuration down as the next version. Call it under the lock."""
    before = latest()
    made = ConfigurationVersion.objects.create(
        number=before.number + 1 if before else 1,
        author=author[:200],
        applied=applied,
        base=base,
        rows=now,
        document=states.text(now),
        diff=diff(before.rows if before else {}, now),
    )
    ConfigurationVersion.objects.filter(number__lte=made.number - KEPT).delete()
    return made


def diff(before: State, after: State) -> str:
    """What changed, as lines of the document; only objects that changed are compared."""
    return "\n".join(line for section in SECTIONS for line in _diff(section, before, after))


def _diff(section: str, before: State, after: State) -> Iterator[str]:
    was, now = before.get(section, {}), after.get(section, {})
    for name in sorted({*was, *now}):
        if was.get(name) == now.get(name):
            continue
        yield f"@@ {section}: {name} @@"
        old = states.block(section, name, was[name]) if name in was else []
        new = states.block(section, name, now[name]) if name in now else []
        lines = difflib.unified_diff(old, new, lineterm="", n=0)
        yield from [line for line in lines if not line.startswith(("---", "+++", "@@"))] or [_ANOTHER_VALUE]


def head(version: ConfigurationVersion) -> str:
    """The first lines of an export: what it was made from."""
    who = f" by {version.author}" if version.author else ""
    made = timezone.localtime(version.at).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"# Sardeenz configuration: version {version.number}, {made}{who}.\n"
        "# `sardeenz plan -f FILE` shows what this file would change, `sardeenz apply -f FILE` changes it.\n"
        f"base: {reference(version)}\n"
    )


def reference(version: ConfigurationVersion) -> str:
    """A version's number and its digest: versions of another installation are not taken for ours."""
    return f"{version.number}-{states.digest(version.rows)}"


def base(given: str) -> tuple[ConfigurationVersion | None, str]:
    """The version that a document was made from, and what is to be said of it. Raises NoSuchVersion."""
    if not given:
        return None, ""
    number, _, digest = given.partition("-")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NoSuchVersion(f"{given!r} is no version: write its number, as in an export", version=given)
    found = ConfigurationVersion.objects.filter(number=int(number)).first()
    if found is not None and (not digest or states.digest(found.rows) == digest):
        return found, ""
    if digest:
        return None, f"its base {given} is not known here, so it is compared with what there is now alone"
    raise NoSuchVersion(f"there is no version {number}; `sardeenz versions` lists them", version=int(number))


def blame(section: str, name: str, field: str, since: ConfigurationVersion) -> str:
    """Who changed this after that version, as far as versions and the history tell."""
    before = since.rows
    who = ""
    for version in ConfigurationVersion.objects.filter(number__gt=since.number).order_by("number"):
        if _part(before, section, name, field) != _part(version.rows, section, name, field):
            who = f"{version.author or 'somebody'} (version {version.number})"
            edited = Transition.objects.filter(reason=REASON, deployment_name=name, at__range=(since.at, version.at))
            if not version.applied and section == "deployments" and (last := edited.order_by("-id").first()):
                who = f"{last.actor} (at {last.at:%H:%M:%S UTC})"
        before = version.rows
    return who or "somebody"


def _part(state: State, section: str, name: str, field: str) -> object:
    row = state.get(section, {}).get(name)
    return row.get(field) if row is not None and field else row
