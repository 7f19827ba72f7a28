"""The settings of a deployment as they act now: its own, but for those that a window or an override governs."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

from django.db.models import F, IntegerField, TextChoices
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce


class Level(TextChoices):
    """How ready windows and operators keep a deployment; a window knows no `by_hand`."""

    AWAKE = "awake", "awake"
    ASLEEP_1 = "asleep_1", "asleep at level 1"
    ASLEEP_2 = "asleep_2", "asleep at level 2"
    STOPPED = "stopped", "stopped"


BY_HAND = "by_hand"
"""The level of an override by a verb on one replica of several: no window changes what the operator did."""


class Source(TypedDict):
    """Who decides the value of one setting, and the value."""

    value: Any
    by: Literal["window", "override"]
    name: str
    id: int


class Governed(TypedDict, total=False):
    """What windows and overrides make of a deployment, as last applied.

    `goal_before` is its own goal while a window or an override decides it. `own_floor_bytes` is the KV floor it has
    by itself where that is estimated, and `ceiling_bytes` the highest KV cap that any window gives it.
    """

    fields: dict[str, Source]
    goal_before: str
    own_floor_bytes: int
    ceiling_bytes: int
    changes_at: str


@dataclass(frozen=True, slots=True)
class InForce:
    """One deployment's settings as they act now; `level` is empty where neither window nor override says one."""

    level: str
    kv_floor_bytes: int | None
    kv_cap_bytes: int | None
    kv_weight: int
    priority: int
    replicas: int
    pinned: bool
    max_concurrency: int | None
    queue_limit: int
    queue_seconds: float | None

    @property
    def stays(self) -> bool:
        """Whether it is never put to sleep or stopped to make room for others."""
        return self.pinned or self.level == Level.AWAKE


FIELDS = tuple(field.name for field in fields(InForce))
"""All that windows and overrides may govern."""
SETTINGS = FIELDS[1:]
"""Those that a deployment has of its own as well."""


def read(own: Any, governed: Governed) -> InForce:
    """The settings of a deployment, `own` its row, with those that are governed in their place."""
    return InForce(**some({name: getattr(own, name) for name in SETTINGS} | {"level": ""}, governed))


def some(own: Mapping[str, Any], governed: Governed) -> dict[str, Any]:
    """The same for some settings: what is governed of them in the place of the deployment's own."""
    given = governed.get("fields", {})
    return {name: given[name]["value"] if name in given else value for name, value in own.items()}


def number_in_force(field: str) -> Coalesce:
    """A number that acts now, `priority` or `replicas`, for queries over deployments."""
    number: IntegerField[int, int] = IntegerField()
    return Coalesce(Cast(KT(f"governed__fields__{field}__value"), number), F(field), output_field=number)
