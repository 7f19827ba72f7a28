"""Where a replica would fit, asked before anybody commits to it: by the rule that places it, without a lock or a row.

Only a look: the answer may be outdated when the verb comes, which decides for itself.
"""

from collections import defaultdict
from typing import Final, TypedDict

from gpus.models import GPU
from models_app.errors import NeverFits, NoCapacity
from models_app.memory import placement
from models_app.memory.placement import Choice, Need
from models_app.models import Deployment, Replica
from sardeenz import sizes

Refusal = NoCapacity | NeverFits
_LENGTH: Final = 4096  # where neither the deployment nor the model's files say how long a sequence may get


class Evictable(TypedDict):
    """A replica that would have to go to make room, and what that takes: `seconds` as last measured, else None;
    `free_at` is when the rules let it go, None where nobody knows. `why` is for people.
    """

    replica: int
    name: str
    freed_bytes: int
    means: str
    seconds: float | None
    free_at: str | None
    why: str


class GPUFit(TypedDict):
    """One GPU as the first of a replica. `evictable` are those who would have to go for it, none where it fits or
    where no eviction would do. `code` and `why` are empty where the replica fits. `concurrency` is how many
    sequences of the greatest length its free memory holds at once beside the weights; None where that is unknown.
    """

    gpu: int
    uuid: str
    free_bytes: int
    concurrency: int | None
    fits: bool
    code: str
    why: str
    evictable: list[Evictable]


class KVNeed(TypedDict):
    """KV memory on each GPU of a replica. What is None is unknown, and `unknown` says why; `sources` say for people
    where each figure comes from.
    """

    grow_bytes: int | None
    fixed_bytes: int | None
    length: int
    sequence_bytes: int | None
    concurrency: int | None
    unknown: str
    sources: dict[str, str]


class Fit(TypedDict):
    """What one replica needs on each of its GPUs, and whether as many as are wanted fit now. `why` is for people;
    `evictable` are those who would have to go for the next one that does not fit.
    """

    needed_bytes: int
    weights_bytes: int
    overhead_bytes: int
    kv_floor_bytes: int
    kv: KVNeed
    replicas: int
    fits: bool
    code: str
    why: str
    gpus: list[GPUFit]
    evictable: list[Evictable]


def of_deployment(deployment: Deployment, *, replicas: int, gpu: GPU | None = None) -> Fit:
    """For `replicas` more replicas of a deployment, which need not be written down yet. Raises InvalidSpec."""
    wanted = placement.need(deployment)
    known = list(GPU.objects.select_related("node").order_by("node__name", "index", "uuid"))
    among = _open(known, placement.copies(deployment) if deployment.pk else {})
    width = deployment.tensor_parallel
    of_node = _by_node(among)
    looked = [_of_gpu(one, of_node[one.node_id], wanted, width) for one in known]
    kv = _kv(deployment, wanted, looked)
    return _answer(wanted, replicas, looked, _why_not_all(among, wanted, width, replicas, gpu), kv)


def of_move(replica: Replica) -> Fit:
    """For a copy of the replica on another GPU."""
    wanted, width = placement.need_again(replica, replica.deployment), replica.deployment.tensor_parallel
    known = list(GPU.objects.select_related("node").order_by("node__name", "index", "uuid"))
    among = _open(known, placement.copies(replica.deployment))
    of_node = _by_node(among)
    looked = [_of_gpu(one, of_node[one.node_id], wanted, width, here=replica.gpu_id) for one in known]
    possible = [one for one in looked if one["fits"]]
    refused = None if possible else NoCapacity(_nowhere(wanted, looked))
    return _answer(wanted, 1, looked, refused, _kv(replica.deployment, wanted, looked))


def _open(known: list[GPU], copies: dict[int, int]) -> Choice:
    there = [one for one in known if one.present]
    taking, cordoned = [one for one in there if one.enabled], [one for one in there if not one.enabled]
    return Choice(taking, placement.free_bytes(known), copies, cordoned)


def _by_node(among: Choice) -> dict[int, Choice]:
    """The same of each node apart: a replica has all its GPUs on one, so what others have changes no answer."""
    parts: dict[int, Choice] = defaultdict(lambda: Choice([], among.free, among.copies))
    for one in among.gpus:
        parts[one.node_id].gpus.append(one)
    for one in among.cordoned:
        parts[one.node_id].cordoned.append(one)
    return parts


def _of_gpu(gpu: GPU, among: Choice, wanted: Need, width: int, *, here: int | None = None) -> GPUFit:
    code, why = "", ""
    if gpu.pk == here:
        code, why = "same_gpu", "it is here"
    elif not gpu.present:
        code, why = "gpu_absent", "the node does not see it now"
    elif not gpu.enabled:
        code, why = "gpu_cordoned", "it is cordoned and takes nothing new"
    else:
        try:
            placement.pick(among, wanted, width, gpu=gpu)
        except (NoCapacity, NeverFits) as error:
            code, why = error.code, _short(gpu, among, wanted, width)
    free = max(among.free[gpu.pk], 0)
    return {
        "gpu": gpu.pk,
        "uuid": gpu.uuid,
        "free_bytes": free,
        "concurrency": None,
        "fits": not code,
        "code": code,
        "why": why,
        "evictable": [],
    }


def _kv(deployment: Deployment, wanted: Need, looked: list[GPUFit]) -> KVNeed:
    """What sequences take, and how many of the greatest length fit at once: on each GPU, and where most do."""
    found = placement.estimated(deployment)
    length = deployment.max_model_len or deployment.model.facts.get("max_position_embeddings") or _LENGTH
    if found is None:
        why = "the model's files cannot be read here"
        return _unknown(length, why)
    for one in looked:
        room = one["free_bytes"] - wanted.weights_bytes - wanted.overhead_bytes
        cap = deployment.kv_cap_bytes
        one["concurrency"] = found.concurrency(min(room, cap) if cap else room, length) if one["fits"] else None
    counts = [one["concurrency"] for one in looked if one["concurrency"] is not None]
    return {
        "grow_bytes": found.grow_bytes,
        "fixed_bytes": found.fixed_bytes,
        "length": length,
        "sequence_bytes": found.sequence_bytes(length),
        "concurrency": max(counts, default=None),
        "unknown": found.unknown,
        "sources": found.sources,
    }


def _unknown(length: int, why: str) -> KVNeed:
    return {
        "grow_bytes": None,
        "fixed_bytes": None,
        "length": length,
        "sequence_bytes": None,
        "concurrency": None,
        "unknown": why,
        "sources": {},
    }


def _short(gpu: GPU, among: Choice, wanted: Need, width: int) -> str:
    needed = f"needs {sizes.needed(wanted.awake_bytes)}"
    most = gpu.memory_bytes - gpu.headroom_bytes
    if wanted.awake_bytes > most:
        return f"{needed}, more than the {sizes.free(most)} it may ever promise"
    if among.free[gpu.pk] >= wanted.awake_bytes:
        return f"{needed} on {width} GPUs of one node"
    return needed


def _why_not_all(among: Choice, wanted: Need, width: int, replicas: int, gpu: GPU | None) -> Refusal | None:
    """Why fewer than `replicas` fit, one placed after the other as `deploy` does."""
    free, copies = dict(among.free), dict(among.copies)
    for number in range(replicas):
        try:
            chosen = placement.pick(Choice(among.gpus, free, copies, among.cordoned), wanted, width, gpu=gpu)
        except (NoCapacity, NeverFits) as error:
            some = f"{number} of {replicas} replicas fit; for the next {error.message}"
            return type(error)(some if number else error.message, **error.fields)
        for one in chosen:
            free[one.pk] -= wanted.awake_bytes
            copies[one.pk] = copies.get(one.pk, 0) + 1
    return None


def _nowhere(wanted: Need, looked: list[GPUFit]) -> str:
    free = max((one["free_bytes"] for one in looked if one["code"] in (NoCapacity.code, NeverFits.code)), default=None)
    most = "there is no other GPU that takes replicas"
    if free is not None:
        most = f"no other GPU has more than {sizes.free(free)} free"
    return f"{sizes.needed(wanted.awake_bytes)} are needed, {most}"


def _answer(wanted: Need, replicas: int, looked: list[GPUFit], refused: Refusal | None, kv: KVNeed) -> Fit:
    return {
        "needed_bytes": wanted.awake_bytes,
        "weights_bytes": wanted.weights_bytes,
        "overhead_bytes": wanted.overhead_bytes,
        "kv_floor_bytes": wanted.kv_floor_bytes,
        "kv": kv,
        "replicas": replicas,
        "fits": refused is None,
        "code": refused.code if refused else "",
        "why": refused.message if refused else "",
        "gpus": looked,
        "evictable": [],
    }
