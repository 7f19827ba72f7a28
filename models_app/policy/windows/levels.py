"""The level in force, brought about by the verbs: awake, asleep at a level, or stopped.

* **Awake** is kept: others make room by the rules for an operator's word, and nothing puts it to sleep.
* **Asleep** is where it rests: at the opening it goes to sleep once its requests have ended; a later request wakes it,
  and it sleeps again after its minimum residency without one.
* **Stopped** refuses requests. When nobody says a level any more, what was wanted before is wanted again.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F

from models_app import snapshot
from models_app.errors import HostMemoryShort, ReplicaMoved
from models_app.in_force import Level, Source
from models_app.lifecycle import fleet, verbs
from models_app.memory import placement
from models_app.models import Deployment, Replica, Transition
from models_app.policy import consent, descent
from models_app.policy.scene import Traffic, read_traffic
from models_app.policy.windows.plan import NOTHING, Plan
from models_app.policy.windows.reading import ReplicaRow, Row
from models_app.states import Goal, State
from models_app.traffic import activity
from sardeenz.errors import SardeenzError

PAUSE = timedelta(seconds=10)
"""What was refused is asked for again so much later."""
NOT_DONE = "not done: "
"""What an entry of the history begins with where a level was refused."""
ASLEEP = {Level.ASLEEP_1.value: 1, Level.ASLEEP_2.value: 2}

Act = Literal["start", "stop", "sleep", ""]

logger = logging.getLogger(__name__)


def actor(source: Source) -> str:
    """Who acts where a window or an override decides."""
    return f"policy:{source['name']}" if source["by"] == "window" else f"policy:override by {source['name']}"


@dataclass(slots=True)
class Levels:
    """Remembers what was refused and when, so that it is told once and asked for at intervals."""

    _refused: dict[int, tuple[str, datetime]] = field(default_factory=dict)

    def bring_about(
        self, rows: list[Row], plans: Mapping[int, Plan], replicas: Mapping[int, list[ReplicaRow]], now: datetime
    ) -> None:
        """Act for every deployment that is not where its level says; those that give room come first."""
        due = [(row, act) for row in rows if (act := _act(row, replicas.get(row.id, ()))) and not self._waits(row, now)]
        traffic = read_traffic() if any(act == "sleep" for _, act in due) else None
        order = {"stop": 0, "sleep": 1, "start": 2}
        for row, act in sorted(due, key=lambda each: order[each[1]]):
            self._attempt(row, act, plans.get(row.id, NOTHING), replicas.get(row.id, ()), traffic, now)

    def _waits(self, row: Row, now: datetime) -> bool:
        known = self._refused.get(row.id)
        return known is not None and now < known[1] <= now + PAUSE

    def _attempt(
        self, row: Row, act: Act, plan: Plan, placed: Iterable[ReplicaRow], traffic: Traffic | None, now: datetime
    ) -> None:
        source = row.governed.get("fields", {}).get("level")
        who = actor(source) if source is not None else "policy"
        try:
            if act == "sleep":
                _sleep(row, plan, placed, traffic or read_traffic(), who, now)
            else:
                _head(row, act, who, ends=source is None)
            self._refused.pop(row.id, None)
        except SardeenzError as error:
            self._tell(row, error, who, now)
        except DatabaseError as error:
            logger.info("level not brought about: deployment=%s error=%s", row.name, error)

    def _tell(self, row: Row, error: SardeenzError, who: str, now: datetime) -> None:
        """Say a refusal in the history, once for as long as it stays the same."""
        known = self._refused.get(row.id)
        self._refused[row.id] = error.code, now + PAUSE
        if isinstance(error, ReplicaMoved) or (known is not None and known[0] == error.code):
            return
        Transition.objects.create(
            deployment_name=row.name,
            generation=0,
            reason=error.code,
            message=f"{NOT_DONE}{error.message}",
            fields=error.fields,
            actor=who,
        )


def _act(row: Row, placed: Iterable[ReplicaRow]) -> Act:
    """What is to be asked for; nothing where everybody is there, on the way, or waits for room already."""
    source = row.governed.get("fields", {}).get("level")
    if source is None:
        before = row.governed.get("goal_before")
        return "" if before is None else "start" if before == Goal.READY else "stop"
    level = source["value"]
    if level == Level.STOPPED:
        return "stop" if row.goal != Goal.STOPPED or any(one.goal != Goal.STOPPED for one in placed) else ""
    if level not in (Level.AWAKE, *ASLEEP):
        return ""
    down = row.goal != Goal.READY or any(one.goal == Goal.STOPPED for one in placed)
    if level == Level.AWAKE:
        asleep = any(one.goal == Goal.SLEEPING and one.reason not in _UNDER_WAY for one in placed)
        return "start" if down or asleep else ""
    return "start" if down else "sleep" if any(_may_descend(one, ASLEEP[level]) for one in placed) else ""


_UNDER_WAY = (placement.CONSENTED, "rehearsal")


def _may_descend(one: ReplicaRow, level: int) -> bool:
    if one.goal == Goal.READY:
        return one.state == State.READY
    return one.state == State.SLEEPING and one.sleep_level < level and one.reason != descent.DEEPENS


def _head(row: Row, act: Act, who: str, *, ends: bool) -> None:
    """Start or stop it; where no level is said any more, forget what was wanted before in the same step."""
    deployment = Deployment.objects.select_related("model", "runtime").get(pk=row.id)
    if act == "stop":
        fleet.stop(deployment, actor=who)
    elif not ends:
        consent.start_all(deployment, actor=who, evict=True)
    elif deployment.goal != Goal.READY:
        consent.deploy(deployment, actor=who, evict=True)
    if ends:
        with transaction.atomic():
            deployment = verbs.lock_deployment(row.id)
            governed = {**deployment.governed}
            governed.pop("goal_before", None)
            Deployment.objects.filter(pk=row.id).update(governed=governed, seq=F("seq") + 1)
            snapshot.publish_deployment(row.id, deployment.seq + 1)


def _sleep(row: Row, plan: Plan, placed: Iterable[ReplicaRow], traffic: Traffic, who: str, now: datetime) -> None:
    """Each that nobody uses goes to sleep; level 2 where host RAM does not allow level 1."""
    level = ASLEEP[row.governed["fields"]["level"]["value"]]
    for one in placed:
        if _may_descend(one, level) and _unused(row, one, plan, traffic, now):
            replica = Replica.objects.select_related("deployment", "gpu").get(pk=one.id)
            if one.state == State.SLEEPING:
                descent.deepen(replica, "its level in force is 2", actor=who)
                continue
            try:
                verbs.sleep(replica, actor=who, level=level)
            except HostMemoryShort:
                verbs.sleep(replica, actor=who, level=2)


def _unused(row: Row, one: ReplicaRow, plan: Plan, traffic: Traffic, now: datetime) -> bool:
    """Whether it may go: at once where it was last used before the window opened, else after its residency."""
    if row.id in traffic.waiting or activity.in_flight(one.marker, traffic.reports or ()):
        return False
    used = max(traffic.used.get(row.id, 0.0), (one.ready_at or one.state_at).timestamp())
    if plan.level_since is not None and used < plan.level_since.timestamp():
        return True
    stays = settings.MIN_RESIDENT_SECONDS if row.min_resident_seconds is None else row.min_resident_seconds
    return now.timestamp() - used >= stays
