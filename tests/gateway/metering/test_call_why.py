"""Where a call's time went: each kind of wait in a sentence, joined with what its deployment did meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.metering import call_why
from gateway.models import UsageRecord
from models_app import decisions
from models_app.decisions import Decided, Kind
from models_app.models import Decision, Replica, Transition
from models_app.states import State
from tests import factories

pytestmark = pytest.mark.django_db

BEGAN = datetime(2030, 1, 31, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def call(*trail: dict[str, Any], e2e: float = 10.0, **fields: Any) -> UsageRecord:
    waits = {"wake_seconds": "model", "queue_seconds": "seat"}
    sums = {name: sum(step["seconds"] for step in trail if step["what"] == what) for name, what in waits.items()}
    given = {"served_name": "chat", "path": "/v1/completions", "status": 200, "outcome": "ok", "stream": True}
    given |= {"request_id": "r-1", "e2e_seconds": e2e, "at": after(e2e), "trail": list(trail) or None, **sums}
    return UsageRecord.objects.create(**(given | fields))


def step(what: str, at: float, seconds: float, **more: Any) -> dict[str, Any]:
    return {"what": what, "after_seconds": at, "seconds": seconds, "deployment": "chat"} | more


def happened(replica: Replica, seconds: float, old: str, new: str, **fields: Any) -> Transition:
    given = {"deployment_name": replica.deployment.name, "generation": 1, "goal": "ready", "actor": "worker"}
    row = Transition.objects.create(replica=replica, old=old, new=new, **(given | fields))
    Transition.objects.filter(pk=row.pk).update(at=after(seconds))
    return row


def sentence(record: UsageRecord) -> str:
    return call_why.explain(record).sentence


@pytest.fixture
def chat() -> Replica:
    """A sleeper whose history says why it sleeps."""
    replica = factories.replica(State.SLEEPING, deployment=factories.deployment(name="chat"))
    words = "nobody asked for it for 1800 s; its deployment lets it be idle for 1800 s"
    happened(replica, -600, "ready", "ready", reason="sleep", actor="rule:idle", message=words, goal="sleeping")
    happened(replica, -600, "ready", "draining", reason="drain", goal="sleeping")
    happened(replica, -590, "draining", "sleeping", reason="asleep", goal="sleeping")
    return replica


def test_a_call_that_waits_for_nothing_says_what_its_engine_took() -> None:
    told = call_why.explain(call(replica_id=7, beside=3, ttft_seconds=0.4, e2e=2.0))
    assert told.sentence == (
        "Waited for nothing. Replica 7 took 0.4 s until its first token, beside 3 other calls in flight there. "
        "The call was answered after 2.0 s."
    )
    assert [(part.what, part.seconds) for part in told.parts] == [("engine", 0.4), ("end", 2.0)]


def test_a_wake_says_why_the_model_slept_and_who_went_first(chat: Replica) -> None:
    other = factories.replica(State.READY, deployment=factories.deployment(name="summariser"))
    spared = {"id": 99, "name": "code", "pinned": True}
    inputs = {"verdict": "evict", "concerns": [other.pk], "wanted": {"name": "chat"}}
    inputs["residents"] = [{"id": other.pk, "name": "summariser", "priority": 0}, spared]
    words = "evicted for `chat`: idle, ready for 100 s of at least 15 s"
    happened(other, 0.1, "ready", "ready", reason="evicted", message=words, goal="sleeping", fields=inputs)
    happened(chat, 0.1, "sleeping", "sleeping", reason="wake", actor="gateway", fields=inputs)
    happened(other, 0.2, "ready", "draining", goal="sleeping")
    happened(other, 1.2, "draining", "sleeping", goal="sleeping")
    happened(chat, 1.3, "sleeping", "waking")
    happened(chat, 3.9, "waking", "ready")
    told = call_why.explain(
        call(step("model", 0.0, 3.9, state="sleeping"), replica_id=chat.pk, beside=0, ttft_seconds=4.2)
    )
    assert told.sentence.startswith(
        f"Waited 3.9 s: 3.9 s for `chat` to be ready: chat/{chat.pk} was asleep since 11:50:10 UTC (nobody asked for "
        "it for 1800 s; its deployment lets it be idle for 1800 s); "
        f"summariser/{other.pk} was put to sleep first (1.1 s), for it was idle, ready for 100 s of at least 15 s, "
        f"spared: `code` (pinned); chat/{chat.pk} woke in 2.6 s."
    )
    assert "took 0.3 s until its first token, alone there" in told.sentence
    assert {one.deployment_name for one in told.entries} == {"chat", "summariser"}
    assert [one.at for one in told.entries] == sorted((one.at for one in told.entries), reverse=True)


def test_a_model_that_woke_already_is_told_so(chat: Replica) -> None:
    happened(chat, -3.0, "sleeping", "sleeping", reason="wake", actor="gateway")
    happened(chat, -2.9, "sleeping", "waking")
    happened(chat, 0.6, "waking", "ready")
    assert f"chat/{chat.pk} was waking already" in sentence(call(step("model", 0.0, 0.6, state="starting")))


def test_a_load_says_since_when_there_was_no_engine_whose_turn_it_was_and_how_long_it_took() -> None:
    chat = factories.replica(State.STOPPED, deployment=factories.deployment(name="chat"))
    happened(chat, -100, "stopping", "stopped", reason="demoted_to_stopped", message="It sleeps without an engine.")
    happened(chat, 0.1, "stopped", "pending", reason="start")
    words = f"chat/{chat.pk}: waits until `code` has loaded"
    decisions.keep(Decided(Kind.WAIT, "waits_for_turn", words, "chat", "worker", chat.pk))
    Decision.objects.update(at=after(0.2))
    happened(chat, 5.0, "pending", "starting")
    happened(chat, 17.0, "starting", "ready")
    told = sentence(call(step("model", 0.0, 17.0, state="sleeping"), e2e=20.0))
    assert f"chat/{chat.pk} had no engine since 11:58:20 UTC (It sleeps without an engine); {words}; " in told
    assert f"chat/{chat.pk} loaded in 12 s" in told


def test_a_wait_for_room_is_told_with_its_reason_and_its_length(chat: Replica) -> None:
    words = "no room now: `code` may stay until 12:00:05 UTC, the end of its minimum residency"
    happened(chat, 0.1, "sleeping", "sleeping", reason="waits_for_room", message=words, goal="sleeping")
    happened(chat, 5.1, "sleeping", "sleeping", reason="wake", actor="gateway")
    happened(chat, 5.2, "sleeping", "waking")
    happened(chat, 6.2, "waking", "ready")
    assert f"it waited 5.0 s: {words}; chat/{chat.pk} woke in 1.0 s" in sentence(call(step("model", 0.0, 6.2)))


def test_a_failure_meanwhile_is_told(chat: Replica) -> None:
    happened(chat, 0.1, "sleeping", "sleeping", reason="wake", actor="gateway")
    happened(chat, 0.2, "sleeping", "waking")
    happened(chat, 2.0, "waking", "failed", reason="engine_exited", message="The engine ended.")
    refused = step("refused", 4.0, 0.0, code="wake_timeout", message="the model `chat` did not become ready within 4 s")
    record = call(step("model", 0.0, 4.0), refused, status=503, outcome="wake_timeout", e2e=4.0)
    told = sentence(record)
    assert f"chat/{chat.pk} failed: The engine ended" in told
    assert told.endswith(
        "The call ended with wake_timeout (503) after 4.0 s: the model `chat` did not become ready within 4 s."
    )


@pytest.mark.parametrize(
    ("ahead", "words"), [(0, "no call before it"), (1, "1 call before it"), (9, "9 calls before it")]
)
def test_a_wait_for_a_seat_says_how_many_there_are_and_who_stood_before(ahead: int, words: str) -> None:
    told = sentence(call(step("seat", 0.0, 5.4, ahead=ahead, seats=8)))
    assert told.startswith(f"Waited 5.4 s: 5.4 s in the queue of `chat` for a seat: all 8 were taken, {words}.")


def test_both_waits_are_told_in_their_order(chat: Replica) -> None:
    parts = call_why.explain(call(step("model", 0.0, 2.0), step("seat", 2.0, 3.0, ahead=1, seats=2))).parts
    assert [(part.what, part.seconds) for part in parts] == [("model", 2.0), ("seat", 3.0), ("end", 10.0)]


def test_who_was_asked_in_vain_is_named() -> None:
    vain = step("asked", 0.0, 1.5, replica=7, code="engine_unreachable", message="the connection ended")
    assert "chat/7 was asked in vain after 1.5 s (engine_unreachable: the connection ended), so the call went on" in (
        sentence(call(vain))
    )


def test_an_engine_that_took_no_connection_is_told_where_nothing_else_is_recorded() -> None:
    assert "its engine accepted no connection" in sentence(call(step("model", 0.0, 1.0, state="ready")))


def test_a_limit_is_told_in_the_words_of_the_refusal() -> None:
    words = "the key's 1 request per minute is used up"
    refused = step("refused", 0.0, 0.0, code="request_limit", message=words)
    told = sentence(call(refused, status=429, outcome="request_limit", e2e=0.0))
    assert told == f"Waited for nothing. The call ended with request_limit (429) after 0.0 s: {words}."


def test_a_caller_that_left_is_told_so() -> None:
    assert "The call was given up by its caller after 10 s." in sentence(call(outcome="cancelled", status=499))


def test_who_cancelled_a_call_is_named() -> None:
    refused = step("refused", 3.0, 0.0, code="cancelled_by_operator", message="ada cancelled this call")
    told = sentence(call(refused, outcome="cancelled_by_operator"))
    assert "The call was ended by an operator after 10 s: ada cancelled this call." in told


def test_what_happened_to_the_deployment_meanwhile_is_listed_and_nothing_else(chat: Replica) -> None:
    happened(chat, 1.0, "sleeping", "waking")
    happened(chat, 60.0, "ready", "draining")
    other = factories.replica(State.READY)
    happened(other, 1.0, "ready", "draining")
    told = call_why.explain(call(step("model", 0.0, 2.0)))
    assert [one.at for one in told.entries if one.at > BEGAN] == [after(1.0)]
    assert {one.deployment_name for one in told.entries} == {"chat"}


def test_the_latest_call_of_an_id_is_found() -> None:
    call()
    latest = call()
    assert call_why.find("r-1") == latest
    assert call_why.find("r-2") is None
    assert call_why.find("") is None
