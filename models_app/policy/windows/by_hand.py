"""The verbs as operators use them: as everywhere, and where a window says otherwise what was done holds against it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from django.db import transaction

from models_app.in_force import Level
from models_app.lifecycle import fleet, verbs
from models_app.models import Deployment, Replica
from models_app.policy import consent
from models_app.policy.windows import overrides


class ByHand(Protocol):
    """A verb of an operator; `until` says how long it holds against windows, else until their next edge."""

    def __call__(self, subject: Any, *, actor: str, until: datetime | None = None, **how: Any) -> Any: ...


def _by_hand(verb: Callable[..., Any], level: Level | None) -> ByHand:
    def act(subject: Any, *, actor: str, until: datetime | None = None, **how: Any) -> Any:
        arrives = level if level is not None else _asleep(how.get("level", 1))
        replica = subject if isinstance(subject, Replica) else None
        deployment_id = subject.deployment_id if isinstance(subject, Replica) else subject.pk
        with transaction.atomic():
            done = verb(subject, actor=actor, **how)
            overrides.by_verb(deployment_id, arrives, actor=actor, replica=replica, until=until)
        return done

    return act


def _asleep(level: int) -> Level:
    return Level.ASLEEP_1 if level == 1 else Level.ASLEEP_2


deploy = _by_hand(consent.deploy, Level.AWAKE)
start_all = _by_hand(consent.start_all, Level.AWAKE)
wake_all = _by_hand(consent.wake_all, Level.AWAKE)
stop_all = _by_hand(fleet.stop, Level.STOPPED)
sleep_all = _by_hand(fleet.sleep, None)
start = _by_hand(consent.start, Level.AWAKE)
wake = _by_hand(consent.wake, Level.AWAKE)
stop = _by_hand(verbs.stop, Level.STOPPED)
sleep = _by_hand(verbs.sleep, None)


def edit(
    deployment: Deployment, values: dict[str, Any], *, actor: str, until: datetime | None = None
) -> dict[str, Any]:
    """What is left of an edit for the deployment's own settings: what windows govern now is overridden instead."""
    said = overrides.governed(deployment, values)
    if said:
        overrides.make(deployment, said, actor=actor, until=until)
    return {name: given for name, given in values.items() if name not in said}
