"""Questions to all gateways over one channel in Redis, and the answers in a list that lives for seconds."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec

from gateway.in_flight import messages
from gateway.in_flight.messages import Answer, Question
from sardeenz.redis import async_client, client, key

ANSWER_SECONDS = 1.5
"""A gateway answers in milliseconds; one that says nothing for so long is named as silent."""
KEPT_SECONDS = 10
POLL_SECONDS = 4.0

_CHANNEL = key("calls")


async def questions() -> AsyncIterator[bytes]:
    """What is asked from now on. A gateway calls this and raises RedisError when Redis is away."""
    async with async_client().pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(_CHANNEL)
        while True:
            message = await channel.get_message(timeout=POLL_SECONDS)
            if message is not None:
                yield message["data"].encode()


async def send(reply_to: str, answer: bytes) -> None:
    """A gateway's answer."""
    async with async_client().pipeline(transaction=False) as pipe:
        pipe.rpush(reply_to, answer.decode())
        pipe.expire(reply_to, KEPT_SECONDS)
        await pipe.execute()


def ask(question: Question) -> list[Answer]:
    """Ask every gateway that listens and wait for their answers. Raises RedisError."""
    connection = client()
    reply_to = key("calls", secrets.token_hex(8))
    asked = msgspec.structs.replace(question, reply_to=reply_to)
    listening = connection.publish(_CHANNEL, messages.write(asked))
    until = time.monotonic() + ANSWER_SECONDS
    answers: list[Answer] = []
    while len(answers) < listening and (left := until - time.monotonic()) > 0:
        popped = cast(Any, connection.blpop([reply_to], timeout=left))
        if popped is None:
            break
        answers.append(messages.read_answer(popped[1]))
    return answers
