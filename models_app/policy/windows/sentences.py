"""What policies do, in words."""

from collections.abc import Mapping
from typing import Any

from models_app.in_force import BY_HAND, FIELDS, SETTINGS, Level, Source
from models_app.models import Deployment
from sardeenz import sizes
from sardeenz.labels import label


def value(field: str, given: Any) -> str:
    """One value as people read it."""
    if field == "level":
        return "as the operator set it" if given == BY_HAND else str(Level(given).label)
    if given is None:
        return "none"
    if isinstance(given, bool):
        return "yes" if given else "no"
    return sizes.shown(given) if field.endswith("_bytes") else f"{given:g}"


def asked(values: Mapping[str, Any]) -> str:
    """All that is asked, setting by setting."""
    return ", ".join(f"{label(field)} {value(field, given)}" for field, given in values.items())


def deciding(source: Source) -> str:
    """Who decides, in a phrase."""
    return f"window {source['name']}" if source["by"] == "window" else f"override by {source['name']}"


def changed(deployment: Deployment, before: Mapping[str, Source], now: Mapping[str, Source]) -> str:
    """What acts from now on in place of what acted before, and by whom; one clause for each setting."""
    return "; ".join(
        _clause(deployment, field, now.get(field)) for field in FIELDS if before.get(field) != now.get(field)
    )


def _clause(deployment: Deployment, field: str, source: Source | None) -> str:
    if source is not None:
        return f"{label(field)}: {value(field, source['value'])} ({deciding(source)})"
    own = value(field, getattr(deployment, field)) if field in SETTINGS else "no longer decided"
    return f"{label(field)}: {own}{' (its own)' if field in SETTINGS else ''}"
