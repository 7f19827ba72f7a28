"""How replicas stand, as decisions about memory see them: the few columns that matter, of many rows at once.

A decision looks at hundreds of replicas under the locks of their GPUs and changes a few. Those few are read again as
rows of the model when they are locked; `seq` tells whether they are still as they were seen.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.fields.json import KT

from models_app import in_force
from models_app.in_force import Governed, Level
from models_app.models import Replica
from models_app.spec import Profile
from models_app.states import State

_COLUMNS = (
    "pk",
    "seq",
    "deployment_id",
    "deployment__name",
    "gpu__node_id",
    "state",
    "goal",
    "reason",
    "message",
    "generation",
    "sleep_level",
    "restarting",
    "disposable",
    "replaces_id",
    "restart_at",
    "state_at",
    "deadline_at",
    "profile",
    KT("spec__weights_bytes"),
    KT("spec__gpu_uuids"),
    KT("spec__sleep_enabled"),
    "deployment__priority",
    "deployment__pinned",
    "deployment__governed",
)


@dataclass(frozen=True, slots=True)
class Standing:
    """One replica; what is called as in its row is as there."""

    pk: int
    seq: int
    deployment_id: int
    name: str
    """Its deployment's."""
    node_id: int
    """Of its lead GPU."""
    state: str
    goal: str
    reason: str
    message: str
    generation: int
    sleep_level: int
    restarting: bool
    disposable: bool
    replaces_id: int | None
    restart_at: datetime | None
    state_at: datetime
    deadline_at: datetime | None
    profile: Profile
    weights_bytes: int
    gpus_text: str | None
    """As its specification keeps them; few decisions ask for them."""
    sleep_enabled: bool
    own_priority: int
    own_pinned: bool
    governed: Governed

    @property
    def marker(self) -> str:
        """What tells its engine from every other."""
        return f"{self.pk}:{self.generation}"

    @property
    def gpu_uuids(self) -> list[str]:
        """The GPUs of its engine."""
        return json.loads(self.gpus_text) if self.gpus_text else []

    @property
    def priority(self) -> int:
        """Its deployment's, as it acts now."""
        return int(in_force.some({"priority": self.own_priority}, self.governed)["priority"])

    @property
    def stays(self) -> bool:
        """Whether it is never put to sleep or stopped to make room for others, as that acts now."""
        acting = in_force.some({"pinned": self.own_pinned, "level": ""}, self.governed)
        return bool(acting["pinned"] or acting["level"] == Level.AWAKE)

    @property
    def down(self) -> bool:
        """Whether it has no engine."""
        return self.state in (State.STOPPED, State.FAILED)


def read(rows: QuerySet[Replica]) -> list[Standing]:
    """These replicas, in one query, in the order of their ids."""
    return [_standing(*columns) for columns in rows.order_by("pk").values_list(*_COLUMNS)]


def _standing(*columns: Any) -> Standing:
    *same, weights, uuids, sleeps, priority, pinned, governed = columns
    return Standing(*(*same, int(weights or 0), uuids, sleeps == "true", priority, pinned, governed))
