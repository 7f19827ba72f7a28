"""Put a model to sleep once, and wake it, while nobody wants it: an engine's first sleep at level 1 takes longest.

vLLM allocates the pinned host memory for its weights then. Once it has, the model gives its place up, and takes it
again, in a fraction of that time. One model of a node at a time, and only where the host's RAM takes it.
"""

import logging
import time

from django.conf import settings
from django.db import transaction

from models_app.engines import command
from models_app.errors import HostMemoryShort, ReplicaMoved
from models_app.lifecycle import verbs
from models_app.memory import placement
from models_app.models import Replica
from models_app.policy.scene import Traffic, read_traffic
from models_app.spec import UNDER_WAY
from models_app.states import Goal, State
from models_app.traffic import activity

ACTOR = "rule:rehearsal"
REASON = "rehearsal"
QUIET_SECONDS = 5.0
"""So long it is ready, and unused, before it rehearses."""

logger = logging.getLogger(__name__)


def begin() -> None:
    """Where one is due, its goal becomes `sleeping`; its worker wakes it again as soon as it sleeps."""
    ready = Replica.objects.filter(state=State.READY, goal=Goal.READY, replaces=None, replacements=None)
    rows = [row for row in ready.select_related("deployment", "gpu__node").order_by("pk") if _lacks_one(row)]
    traffic = read_traffic() if rows else None
    if traffic is None or traffic.reports is None or traffic.waiting:
        return
    busy = set(Replica.objects.filter(profile__rehearsal=UNDER_WAY).values_list("gpu__node", flat=True))
    for row in rows:
        if row.gpu.node_id not in busy and _unused(row, traffic) and _rehearse(row):
            busy.add(row.gpu.node_id)


def _lacks_one(row: Replica) -> bool:
    """Whether this engine may sleep and has not yet; one that failed to is not asked again."""
    wanted = settings.REHEARSE_SLEEP
    on = row.spec.get("kind") == command.CUDA if wanted is None else wanted
    slept = row.profile.get("first_sleep_of") == row.generation or row.profile.get("rehearsal") == "failed"
    return on and row.sleep_enabled and not row.deployment.in_force.stays and not slept


def _unused(row: Replica, traffic: Traffic) -> bool:
    last = max(traffic.used.get(row.deployment_id, 0.0), row.state_at.timestamp())
    return not activity.in_flight(row.marker, traffic.reports or ()) and time.time() - last >= QUIET_SECONDS


def _rehearse(row: Replica) -> bool:
    message = "a rehearsal: it sleeps once and wakes, so that nobody has to wait for its first sleep later"
    try:
        with transaction.atomic():
            verbs.lock(row)
            placement.check_host_memory(row, level=1)
            profile = row.profile | {"rehearsal": UNDER_WAY}
            change = {"message": message, "sleep_level": 1, "profile": profile}
            verbs.set_goal(row, Goal.SLEEPING, reason=REASON, actor=ACTOR, **change)  # type: ignore[arg-type]
    except (HostMemoryShort, ReplicaMoved) as error:
        logger.debug("no rehearsal: replica=%s code=%s", row.pk, error.code)
        return False
    return True
