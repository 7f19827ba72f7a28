"""The exchange between gateway processes, through one hash in Redis."""

import time
from collections.abc import Mapping
from typing import Any

from sardeenz.redis import async_client, key

FORGET_SECONDS = 60
"""The hash is gone so long after the last write, and the field of a process that is gone after its own."""

_NAME = key("gateway_peers")


async def exchange(gateway_id: str, said: bytes) -> Mapping[str, bytes]:
    """Write our field and read everybody's, ours too, in one round trip and as one step. Raises RedisError."""
    now = int(time.time())
    mine: dict[Any, Any] = {gateway_id: b"%d %b" % (now, said)}
    async with async_client().pipeline(transaction=True) as pipe:
        pipe.hset(_NAME, mapping=mine)
        pipe.hgetall(_NAME)
        pipe.pexpire(_NAME, FORGET_SECONDS * 1000)
        _, fields, _ = await pipe.execute()
    dated = {name: value.split(" ", 1) for name, value in fields.items()}
    gone = [name for name, (at, _) in dated.items() if now - int(at) > FORGET_SECONDS]
    if gone:
        await async_client().hdel(_NAME, *gone)
    return {name: text.encode() for name, (_, text) in dated.items() if name not in gone}
