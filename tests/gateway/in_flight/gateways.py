"""Gateways as far as they answer who asks about calls in flight: over Redis, each in a loop and a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from gateway.in_flight import channel, messages
from gateway.in_flight.messages import Answer, Question, RunningCall
from models_app.traffic import activity
from sardeenz.redis import async_client, client, key
from tests.patience import until


def running(request_id: str, **facts: Any) -> RunningCall:
    """A call that streams from replica 7."""
    given: dict[str, Any] = {"asked_name": "chat", "deployment": None, "key": 1, "team": None, "pieces": 5}
    given |= {"path": "/v1/chat/completions", "stream": True, "state": "streaming", "replica": 7}
    return RunningCall(request_id=request_id, **(given | {"began_at": 1000.0, "since": 1001.0} | facts))


@contextmanager
def answering(gateway_id: str, *calls: RunningCall) -> Iterator[list[Question]]:
    """A gateway that has these calls in flight, until each is cancelled; what it was asked."""
    asked: list[Question] = []
    left = list(calls)

    def answer(question: Question) -> Answer:
        asked.append(question)
        if question.cancel:
            gone = [call for call in left if call.request_id == question.cancel]
            left[:] = [call for call in left if call not in gone]
            return Answer(gateway_id, cancelled=len(gone))
        wanted = [call for call in left if question.deployment in (None, call.deployment)]
        states = {state: sum(call.state == state for call in wanted) for state in messages.STATES}
        return Answer(gateway_id, states=states, calls=wanted[: question.limit])

    async def serve() -> None:
        try:
            await activity.areport(async_client(), gateway_id, (), {})
            async with aclosing(channel.questions()) as questions:
                async for data in questions:
                    question = messages.read_question(data)
                    await channel.send(question.reply_to, messages.write(answer(question)))
        finally:
            await activity.aforget(async_client(), gateway_id)
            await async_client().aclose()

    async_client.cache_clear()
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait((task,))), daemon=True)
    before = _listeners()
    thread.start()
    until(lambda: _listeners() > before)
    try:
        yield asked
    finally:
        while thread.is_alive():  # one cancel was seen to be lost between two reads of a channel
            loop.call_soon_threadsafe(task.cancel)
            thread.join(1)
        loop.close()
        async_client.cache_clear()


def _listeners() -> int:
    ((_, count),) = client().pubsub_numsub(key("calls"))
    return int(count)
