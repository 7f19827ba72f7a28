"""Which services of the installation are heard, and what a silence means, in words."""

import time
from datetime import UTC, datetime
from typing import TypedDict

from redis import RedisError

from gpus.models import GPU
from sardeenz import heartbeats
from sardeenz.heartbeats import Word

_MEANING = {
    heartbeats.TICKS: "No regular tick since {since}: what nobody asks for by hand is not looked after.",
    "beat": "Beat is silent since {since}: no regular ticks are sent.",
    "control": "The control worker is silent since {since}: idle models do not go to sleep, and nothing is settled.",
    "node": "The loop that reads {node} is silent since {since}: the readings of its GPUs are old.",
}
_GPU = "The worker of GPU {gpu} on {node} is silent since {since}: nothing starts, sleeps, wakes or stops there."
_OTHER = "{name} on {node} is silent since {since}."


class ServiceRow(TypedDict):
    """One service as heard last. `silent`: it should have spoken since, and `words` says what that means."""

    node: str
    name: str
    pid: int
    seen_at: str
    silent: bool
    words: str


def services() -> list[ServiceRow]:
    """Everybody who was heard and did not end in order; nobody while Redis is away."""
    try:
        found = heartbeats.heard()
    except (RedisError, OSError):
        return []
    now = time.time()
    quiet = [word for word in found if word.silent(now)]
    numbers = dict(GPU.objects.values_list("uuid", "index")) if quiet else {}
    return [_row(word, _words(word, numbers) if word in quiet else "") for word in found]


def _row(word: Word, words: str) -> ServiceRow:
    return {
        "node": word.node,
        "name": word.name,
        "pid": word.pid,
        "seen_at": datetime.fromtimestamp(word.at, UTC).isoformat(),
        "silent": bool(words),
        "words": words,
    }


def _words(word: Word, numbers: dict[str, int]) -> str:
    since = datetime.fromtimestamp(word.at, UTC).strftime("%H:%M:%S UTC")
    uuid = word.name.removeprefix("gpu-")
    told = _GPU if word.name.startswith("gpu-") else _MEANING.get(word.name, _OTHER)
    return told.format(since=since, node=word.node, name=word.name, gpu=numbers.get(uuid, uuid))
