"""Which of the governor's limits are worth remembering, and what is said of them."""

from collections.abc import Mapping

from models_app.decisions import Decided, Kind
from models_app.memory.governor import Decision, Why, Wish
from models_app.memory.reclaim import Neighbour, Scene
from models_app.models import Replica
from sardeenz import sizes

TOLD_RATIO = 0.1
"""Of an engine's first limit: shares move by less with every page, and nobody asks why."""
TOLD_SECONDS = 5.0
"""So often at most a limit is told of that moves for the same reason."""
ACTOR = "governor"
CODE = "kv_limit"

_BECAUSE = {
    Why.FREE: "nothing on its GPUs is scarce, so it may map all that it can address",
    Why.SHARE: "others on its GPU want KV memory too, and it has its share by priority and KV weight",
    Why.CLAIM: "an engine that loads or wakes beside it needs the memory",
    Why.FLOOR: "less is left than was promised, so everybody is held to the KV floor",
}


class LimitChanges:
    """Remembers what was last told of each engine. Losing it costs one more entry."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[float, int, Why]] = {}

    def news(
        self, row: Replica, scene: Scene, decided: Mapping[int, Decision], wishes: Mapping[int, Wish], now: float
    ) -> Decided | None:
        """What is to be kept of a limit that was just written; None where hardly anything changed."""
        one = next(each for each in scene.neighbours if each.id == row.pk)
        decision, before = decided[row.pk], self._told.get(row.pk)
        if before is not None and before[2] == decision.why:
            moved = abs(decision.limit_bytes - before[1]) >= TOLD_RATIO * one.first_limit_bytes
            if not moved or now - before[0] < TOLD_SECONDS:
                return None
        self._told[row.pk] = now, decision.limit_bytes, decision.why
        return Decided(
            kind=Kind.LIMIT,
            code=CODE,
            sentence=_sentence(row, one, decision),
            deployment_name=row.deployment.name,
            actor=ACTOR,
            replica_id=row.pk,
            inputs=_inputs(one, scene, decided, wishes),
        )

    def forget_all_but(self, ids: Mapping[int, object]) -> None:
        """Engines that are gone are remembered no longer."""
        for number in self._told.keys() - ids.keys():
            del self._told[number]


def _sentence(row: Replica, one: Neighbour, decision: Decision) -> str:
    now, before = sizes.shown(decision.limit_bytes), sizes.shown(one.limit_bytes)
    has = f"it has {sizes.shown(one.mapped_bytes)} and wants {sizes.shown(decision.wanted_bytes)}"
    return f"{row}: its KV memory is limited to {now} instead of {before}: {_BECAUSE[decision.why]}; {has}"


def _inputs(
    one: Neighbour, scene: Scene, decided: Mapping[int, Decision], wishes: Mapping[int, Wish]
) -> dict[str, object]:
    beside = [each for each in scene.neighbours if each.uuids & one.uuids]
    waiting = [each for each in scene.claimants if each.needs.keys() & one.uuids]
    return {
        "why": decided[one.id].why.value,
        "limit_before_bytes": one.limit_bytes,
        "free_bytes": {uuid: scene.devices[uuid].free_bytes for uuid in sorted(one.uuids & scene.devices.keys())},
        "engines": [_of_engine(each, decided[each.id], wishes.get(each.id)) for each in beside if each.id in decided],
        "claims": [{"name": each.name, "replica": each.id, "needs_bytes": dict(each.needs)} for each in waiting],
    }


def _of_engine(one: Neighbour, decision: Decision, wish: Wish | None) -> dict[str, object]:
    return {
        "name": one.name,
        "replica": one.id,
        "limit_bytes": decision.limit_bytes,
        "wanted_bytes": decision.wanted_bytes,
        "mapped_bytes": one.mapped_bytes,
        "floor_bytes": one.floor_bytes,
        "first_limit_bytes": one.first_limit_bytes,
        "kv_weight": wish.weight if wish is not None else None,
        "priority": wish.priority if wish is not None else None,
    }
