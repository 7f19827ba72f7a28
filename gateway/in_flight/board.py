"""The calls of this gateway process: listed and cancelled when the web process asks, and only then."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import islice

from gateway.admission.admit import Admission
from gateway.call import Call
from gateway.errors import CancelledByOperator
from gateway.in_flight import messages
from gateway.in_flight.messages import Answer, Question, RunningCall
from gateway.outage import Outage

AGAIN_SECONDS = 1.0

logger = logging.getLogger(__name__)

Questions = Callable[[], AsyncIterator[bytes]]
SendAnswer = Callable[[str, bytes], Awaitable[None]]


class Board:
    """One Board per gateway process reads what its calls know anyway; a call does nothing to be on it."""

    def __init__(
        self,
        gateway_id: str,
        running: dict[Call, None],
        admission: Admission,
        questions: Questions,
        send: SendAnswer,
    ) -> None:
        self._gateway_id = gateway_id
        self._running = running
        self._admission = admission
        self._questions = questions
        self._send = send
        self.outage = Outage("hearing who asks about calls in flight")

    async def keep_answering(self) -> None:
        """Answer every question; begin again when Redis went away."""
        while True:
            with self.outage.watch():
                async for data in self._questions():
                    self.outage.ended()
                    question = messages.read_question(data)
                    await self._send(question.reply_to, messages.write(self.answer(question)))
            await asyncio.sleep(AGAIN_SECONDS)

    def answer(self, question: Question) -> Answer:
        """List what is asked for, or cancel it."""
        if question.cancel:
            return Answer(self._gateway_id, cancelled=self.cancel(question.cancel, question.actor))
        return self._listing(question)

    def cancel(self, request_id: str, actor: str) -> int:
        """End the calls of this id, several where a client gave it to several; how many there were."""
        wanted = request_id.encode()
        calls = [call for call in self._running if call.reply.request_id == wanted and not call.reply.ended]
        for call in calls:
            logger.info("cancelled by an operator: request_id=%s actor=%s", request_id, actor)
            call.stop(CancelledByOperator("an operator cancelled this call", actor=actor))
        return len(calls)

    def _listing(self, question: Question) -> Answer:
        calls = list(reversed(self._running))
        if question.narrows:
            calls = [call for call in calls if _wanted(call, question)]
        waiting = self._admission.standing()
        now = time.time() - time.monotonic()
        states = Counter([_state(call, waiting) for call in calls])
        shown = [_shown(call, waiting, now) for call in islice(calls, question.limit)]
        return Answer(self._gateway_id, states=dict(states), calls=shown)


def _wanted(call: Call, question: Question) -> bool:
    return (
        question.deployment in (None, _deployment(call))
        and question.key in (None, call.key.id)
        and question.team in (None, _team(call))
    )


def _team(call: Call) -> int | None:
    return call.key.team.id if call.key.team else None


def _deployment(call: Call) -> int | None:
    route = call.destination.route
    return None if route is None else route.deployment_id


def _state(call: Call, waiting: Mapping[int, tuple[str, float]]) -> str:
    """What the call is doing. Asked of every call at each look, so it makes nothing new."""
    if waiting and (wait := waiting.get(id(call))) is not None:
        return wait[0]
    if not call.destination.leased:
        return messages.ROUTING
    return messages.STREAMING if call.reply.relayed else messages.ASKED


def _since(call: Call, state: str, waiting: Mapping[int, tuple[str, float]]) -> float:
    """When that began, by the monotonic clock."""
    if (wait := waiting.get(id(call))) is not None:
        return wait[1]
    if state == messages.ROUTING:
        return call.clock.began
    content_at = call.account.tap.content_at if state == messages.STREAMING else None
    return content_at or call.destination.asked_at


def _shown(call: Call, waiting: Mapping[int, tuple[str, float]], epoch: float) -> RunningCall:
    """`epoch` is what the monotonic clock lacks to Unix time."""
    state = _state(call, waiting)
    replica = call.destination.replica if call.destination.leased and id(call) not in waiting else None
    return RunningCall(
        request_id=call.reply.request_id.decode("latin-1"),
        asked_name=call.request.fields.model[:200],
        deployment=_deployment(call),
        key=call.key.id,
        team=_team(call),
        path=call.request.endpoint.path,
        stream=call.request.stream,
        state=state,
        began_at=epoch + call.clock.began,
        since=epoch + _since(call, state, waiting),
        pieces=call.account.tap.pieces,
        replica=replica.replica_id if replica is not None else None,
    )
