"""Whether what a window asks can come about on these GPUs, with the arithmetic: said when it is saved, not refused."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpus.models import GPU
from models_app.in_force import Level
from models_app.memory import placement
from models_app.models import Deployment, Replica, counted
from models_app.policy.windows.plan import Schedule
from models_app.states import Goal
from sardeenz import sizes
from sardeenz.errors import InvalidSpec

_RESTS = (Level.ASLEEP_1.value, Level.ASLEEP_2.value)


def warnings(schedule: Schedule) -> list[str]:
    """Sentences for whoever saves it; none where everything fits."""
    rows = list(Deployment.objects.filter(deleting=False).select_related("model", "runtime"))
    asked = {row.pk: values for row in rows if (values := schedule.asks_of(row.pk, row.labels))}
    found = [] if asked else ["it asks nothing of any deployment there is now"]
    gpus = list(GPU.objects.filter(enabled=True, present=True).select_related("node").order_by("uuid"))
    awake = [row for row in rows if asked.get(row.pk, {}).get("level") == Level.AWAKE]
    return [*found, *_packing(awake, asked, gpus), *_floors(asked, gpus), *_caps(rows, asked)]


def _packing(awake: list[Deployment], asked: Mapping[int, Mapping[str, Any]], gpus: list[GPU]) -> Iterator[str]:
    """Whether all that it keeps awake can be awake together: the largest first, each where it fits."""
    sizes_of: list[tuple[int, int, str]] = []
    for row in awake:
        try:
            need = placement.need(row)
        except InvalidSpec:
            continue
        own = need.weights_bytes + need.overhead_bytes
        size = own + (asked[row.pk].get("kv_floor_bytes") or need.kv_floor_bytes)
        sizes_of += [(size, row.tensor_parallel, row.name)] * (asked[row.pk].get("replicas") or row.replicas)
    free = {gpu.pk: gpu.memory_bytes - gpu.headroom_bytes for gpu in gpus}
    for size, width, _ in sorted(sizes_of, reverse=True):
        roomy = sorted((number for number in free if free[number] >= size), key=lambda number: free[number])[:width]
        if len(roomy) < width:
            total = sum(each * wide for each, wide, _ in sizes_of)
            each = ", ".join(f"{name} {sizes.shown(one * wide)}" for one, wide, name in sorted(sizes_of, reverse=True))
            room = sum(gpu.memory_bytes - gpu.headroom_bytes for gpu in gpus)
            there = (
                f"the GPU has {sizes.shown(room)}" if len(gpus) == 1 else f"{len(gpus)} GPUs have {sizes.shown(room)}"
            )
            yield (
                f"not all that it keeps awake fits at once: {each} need {sizes.shown(total)} together with their KV "
                f"floors, and {there}; what finds no room waits for it"
            )
            return
        for number in roomy:
            free[number] -= size


def _floors(asked: Mapping[int, Mapping[str, Any]], gpus: Iterable[GPU]) -> Iterator[str]:
    """Whether those that serve now keep their place on their GPU with the KV floors it asks for."""
    serving = Replica.objects.filter(counted(), goal=Goal.READY).select_related("deployment")
    rows = list(serving.prefetch_related("reservations"))
    for gpu in gpus:
        needs = []
        for row in rows:
            values = asked.get(row.deployment_id, {})
            rests = values.get("level") in (*_RESTS, Level.STOPPED)
            for held in row.reservations.all():
                if held.gpu_id == gpu.pk and not rests:
                    more = values.get("kv_floor_bytes", row.kv_floor_bytes) - row.kv_floor_bytes
                    needs.append((held.awake_bytes + more, more, row.deployment.name))
        total, room = sum(size for size, _, _ in needs), gpu.memory_bytes - gpu.headroom_bytes
        if total > room and (raised := [name for _, more, name in needs if more > 0]):
            each = ", ".join(f"{name} {sizes.shown(size)}" for size, _, name in needs)
            yield (
                f"on GPU {gpu.index} of {gpu.node.name} {each} need {sizes.shown(total)} with these KV floors, and "
                f"there are {sizes.shown(room)}: the KV floor of {' and '.join(raised)} stays until there is room"
            )


def _caps(rows: Iterable[Deployment], asked: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    """Whether engines that run were launched with less than the KV cap it asks for."""
    for row in rows:
        cap = asked.get(row.pk, {}).get("kv_cap_bytes")
        floor = asked.get(row.pk, {}).get("kv_floor_bytes", row.kv_floor_bytes)
        if cap is not None and floor is not None and floor > cap:
            yield f"the KV floor of {row.name}, {sizes.shown(floor)}, would be above its KV cap, {sizes.shown(cap)}"
        if cap is None:
            continue
        for replica in Replica.objects.filter(counted(), deployment=row):
            launched = replica.spec.get("kv_cap_bytes")
            if replica.port is not None and launched is not None and launched < cap:
                yield (
                    f"{replica} runs with a KV cap of {sizes.shown(launched)}; it can grow to {sizes.shown(cap)} once "
                    f"it was started anew: restart it at a quiet time"
                )
