"""Other names for deployments. Callers may use either name of a deployment, so an alias has neither."""

from collections.abc import Iterable, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from gateway.models import Alias, AliasTarget
from models_app.models import Deployment
from sardeenz import events


def check_name(name: str) -> str:
    """The name, or ValidationError when a deployment answers to it."""
    if Deployment.objects.filter(Q(name=name) | Q(served_name=name)).exists():
        raise ValidationError(f"a deployment answers to {name!r}; choose another name")
    return name


def check_targets(targets: Iterable[tuple[Deployment, int]]) -> None:
    """ValidationError unless there is a deployment to choose, each stands there once, and none is being deleted."""
    given = list(targets)
    if going := sorted(str(deployment) for deployment, _ in given if deployment.deleting):
        raise ValidationError(f"{', '.join(going)}: being deleted, so no alias may lead there")
    if not any(weight > 0 for _, weight in given):
        raise ValidationError("at least one target needs a weight above 0: without one nothing is ever chosen")
    names = [str(deployment) for deployment, _ in given]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise ValidationError(f"{', '.join(again)} stands there more than once")


def replace_targets(alias: Alias, targets: Sequence[tuple[Deployment, int]]) -> None:
    """These deployments with their weights, in fallback order, instead of those before. Call it in a transaction."""
    alias.targets.all().delete()
    AliasTarget.objects.bulk_create(
        AliasTarget(alias=alias, deployment=deployment, weight=weight, place=place)
        for place, (deployment, weight) in enumerate(targets)
    )


def announce() -> None:
    """Gateways look again once the change is committed."""
    transaction.on_commit(events.routes_changed)
