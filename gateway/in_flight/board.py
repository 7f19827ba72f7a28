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
        running: Mapping[Call, None],
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
        calls = [call for call in reversed(tuple(self._running)) if _wanted(call, question)]
        waiting = self._admission.standing()
        now = time.time() - time.monotonic()
        states = Counter(_state(call, waiting)[0] for call in calls)
        shown = [_shown(call, waiting, now) for call in islice(calls, question.limit)]
        return Answer(self._gateway_id, states=dict(states), calls=shown)


def _wanted(call: Call, question: Question) -> bool:
    asked = ((question.deployment, _deployment(call)), (question.key, call.key.id), (question.team, _team(call)))
    return all(wanted is None or wanted == value for wanted, value in asked)


def _team(call: Call) -> int | None:
    return call.key.team.id if call.key.team else None


def _deployment(call: Call) -> int | None:
    route = call.destination.route
    return None if route is None else route.deployment_id


def _state(call: Call, waiting: Mapping[int, tuple[str, float]]) -> tuple[str, float]:
    """What the call is doing, and since when by the monotonic clock."""
    destination, tap = call.destination, call.account.tap
    if (wait := waiting.get(id(call))) is not None:
        return wait
    if not destination.leased:
        return messages.ROUTING, call.clock.began
    if call.reply.relayed:
        return messages.STREAMING, tap.content_at or destination.asked_at
    return messages.ASKED, destination.asked_at


def _shown(call: Call, waiting: Mapping[int, tuple[str, float]], epoch: float) -> RunningCall:
    """`epoch` is what the monotonic clock lacks to Unix time."""
    state, since = _state(call, waiting)
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
        since=epoch + since,
        pieces=call.account.tap.pieces,
        replica=replica.replica_id if replica is not None else None,
    )
