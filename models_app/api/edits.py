"""What a person changed of a deployment, in the history beside what became of its replicas."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from models_app.errors import ReplicaMoved
from models_app.lifecycle import verbs
from models_app.models import Deployment, Transition
from sardeenz import sizes
from sardeenz.labels import label

REASON = "edited"
_HIDDEN = "environment"


def values(deployment: Deployment) -> dict[str, Any]:
    """Every field as it is, to be compared later."""
    return {field.attname: getattr(deployment, field.attname) for field in Deployment._meta.concrete_fields}


def record(deployment: Deployment, before: Mapping[str, Any], *, actor: str) -> None:
    """Write down what differs from `before`; nothing where nothing does. Call it in the transaction of the change."""
    now = values(deployment)
    changed = {name: now[name] for name in now if name != "seq" and now[name] != before[name]}
    if not changed:
        return
    words = "; ".join(_sentence(name, before[name], value) for name, value in changed.items())
    Transition.objects.create(
        deployment_name=deployment.name,
        generation=0,
        reason=REASON,
        message=words,
        fields={"changed": sorted(changed)},
        actor=actor,
    )
    for replica in deployment.placed.select_related("gpu", "deployment"):
        with suppress(ReplicaMoved):  # its own change shows the row anew
            verbs.note(replica)  # it may have been started with other settings now


def _sentence(name: str, before: Any, now: Any) -> str:
    if name == _HIDDEN:
        return f"{label(name)} changed"  # its values may be secrets
    return f"{label(name.removesuffix('_id'))}: {_shown(name, before)} -> {_shown(name, now)}"


def _shown(name: str, value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return sizes.shown(value) if name.endswith("_bytes") else str(value)
