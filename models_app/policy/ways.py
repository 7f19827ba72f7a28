"""The GPUs on which a replica could come to be, and what the rules of eviction say about each."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import combinations, groupby, islice

from gpus.models import GPU
from models_app.lifecycle.placing import needed
from models_app.memory import placement
from models_app.memory.standing import Standing
from models_app.models import Deployment, Replica
from models_app.policy import eviction, verdicts
from models_app.policy.eviction import Decision, Scene, Verdict
from models_app.policy.scene import LockedGPUs, Traffic
from models_app.traffic.callers import Waiting

MOST_SETS = 200
"""So many sets of GPUs of one node are compared for a replica on several."""


@dataclass(frozen=True, slots=True)
class Way:
    """GPUs for a replica that has no room there yet, and what the rules say about them; the lead GPU first."""

    gpus: list[GPU]
    seen: Scene
    decision: Decision

    @property
    def rank(self) -> tuple[int, tuple[float, float], float]:
        """The best way comes first: now rather than later, then at the lowest cost."""
        until = self.decision.until if self.decision.until is not None else math.inf
        return list(Verdict).index(self.decision.verdict), eviction.cost(self.seen, self.decision), until


def search(
    deployment: Deployment,
    traffic: Traffic,
    *,
    gpu: GPU | None,
    replaces: Replica | None,
    anew: bool,
    waiting: Waiting | None = None,
) -> Way | None:
    """The best way for a replica that found no room. Every open GPU is locked from now on."""
    gpus, size = placement.lock_open(), needed(deployment, replaces, anew=anew).awake_bytes
    here = LockedGPUs(gpus, traffic)
    return best(here, gpus, deployment, size, lead=gpu, waiting=waiting)


def take_turn(replica: Replica, traffic: Traffic, actor: str, still: Callable[[Standing], bool] | None = None) -> None:
    """Decide for one that has its row, and so its turn among all who wait, and do it.

    Nothing where it is gone, or not `still` as it has to be. Raises NoCapacity where the rules never let enough go.
    """
    here = LockedGPUs(placement.lock([replica]), traffic, [replica])
    for row in here.of([replica]):
        if still is not None and not still(row):
            return
        seen = here.scene(row)
        verdicts.carry_out(eviction.decide(seen), row, seen, here.rows, actor)


def best(
    here: LockedGPUs,
    gpus: list[GPU],
    deployment: Deployment,
    needed_bytes: int,
    *,
    lead: GPU | None = None,
    waiting: Waiting | None = None,
) -> Way | None:
    """The best of all ways; `waiting` says who waits for the replica, else it counts as one request that comes now."""
    ways = (_way(here, chosen, deployment, needed_bytes, waiting) for chosen in _sets(here, gpus, deployment, lead))
    return min(ways, key=lambda way: way.rank, default=None)


def of_each(
    here: LockedGPUs, gpus: list[GPU], deployment: Deployment, needed_bytes: int, leads: Collection[int]
) -> dict[int, Way]:
    """The best of the ways that begin on each of these GPUs, by the GPU's id; nothing where there is none."""
    nodes: dict[int, list[GPU]] = defaultdict(list)
    for gpu in gpus:
        nodes[gpu.node_id].append(gpu)
    found = {}
    for gpu in gpus:
        way = best(here, nodes[gpu.node_id], deployment, needed_bytes, lead=gpu) if gpu.pk in leads else None
        if way is not None:
            found[gpu.pk] = way
    return found


def _way(
    here: LockedGPUs, chosen: list[GPU], deployment: Deployment, needed_bytes: int, waiting: Waiting | None
) -> Way:
    seen = here.arrival(deployment, [gpu.uuid for gpu in chosen], needed_bytes, waiting)
    return Way(chosen, seen, eviction.decide(seen))


def _sets(here: LockedGPUs, gpus: list[GPU], deployment: Deployment, lead: GPU | None) -> Iterator[list[GPU]]:
    width = deployment.tensor_parallel
    if lead is not None and width == 1:
        yield from ([gpu] for gpu in gpus if gpu.pk == lead.pk)
        return
    ranked = sorted(gpus, key=lambda gpu: (gpu.node_id, -here.free[gpu.uuid], gpu.uuid))
    for _, group in groupby(ranked, key=lambda gpu: gpu.node_id):
        node = list(group)
        if lead is None:
            yield from (list(some) for some in islice(combinations(node, width), MOST_SETS))
        elif lead in node:
            others = combinations([gpu for gpu in node if gpu != lead], width - 1)
            yield from ([lead, *some] for some in islice(others, MOST_SETS))
