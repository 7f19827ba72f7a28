"""Why a deployment or a replica is where it is: its history and its decisions in one line of sentences."""

from datetime import timedelta

import pytest
from django.utils import timezone

from models_app import decisions
from models_app.decisions import Decided, Kind
from models_app.lifecycle import transition, verbs
from models_app.models import Replica, Transition
from models_app.policy import demand, why, why_words
from models_app.policy.why import Subject
from models_app.states import State
from tests import factories
from tests.models_app.policy.test_demand import large, say

pytestmark = pytest.mark.django_db


def entry(**fields: object) -> Transition:
    given = {"deployment_name": "chat", "generation": 1, "old": "ready", "new": "ready", "goal": "ready", "actor": "x"}
    return Transition(**(given | fields))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (entry(old="", new="pending", reason="deploy", message="placed on GPU 0"), "chat/1 is new: placed on GPU 0"),
        (entry(goal="sleeping", reason="sleep"), "chat/1 is to sleep"),
        (
            entry(goal="sleeping", reason="evicted", message="evicted for `a`: idle"),
            "gives its place to another model",
        ),
        (entry(new="draining"), "chat/1 takes no new calls and finishes those in flight"),
        (entry(old="waking", new="ready"), "chat/1 woke and is ready"),
        (entry(old="starting", new="ready"), "chat/1 has loaded and is ready"),
        (
            entry(old="sleeping", new="sleeping", reason="waits_for_room", message="no room now: x"),
            "waits for room: no",
        ),
        (entry(old="", new="", reason="edited", message="priority: 0 -> 1"), "chat/1 was edited: priority: 0 -> 1"),
        (entry(reason="something_new"), "chat/1 something new"),
    ],
)
def test_every_entry_is_a_sentence(event: Transition, words: str) -> None:
    assert words in why_words.sentence("chat/1", event)


def test_every_state_has_words_and_so_has_every_reason_that_verbs_give() -> None:
    assert set(why_words._REACHED) == set(State)


def test_a_failure_says_when_it_is_tried_again_or_that_it_is_not() -> None:
    fields = {"step": "engine_exited", "restarts": 2, "restart_at": "2030-01-31T12:00:04+00:00"}
    told = entry(old="ready", new="failed", message="It crashed.", fields=fields)
    assert why_words.sentence("chat/1", told) == "chat/1 failed: It crashed; restart 2 comes at 12:00:04 UTC"
    told.fields = fields | {"restart_at": None}
    assert why_words.sentence("chat/1", told) == "chat/1 failed: It crashed; it is not started again by itself"


def test_those_who_were_spared_are_named_with_the_rule_that_spared_them() -> None:
    def one(number: int, **more: object) -> dict[str, object]:
        return {"id": number, "name": f"m{number}", "priority": 0, "sleep_enabled": True, "ready_at": 0.0} | more

    residents = [
        one(1), one(2, pinned=True), one(3, sleep_enabled=False), one(4, copy=True), one(5, ready_at=None),
        one(6, ready_at=95.0), one(7, in_flight=2), one(8, priority=5), one(9),
    ]  # fmt: skip
    bounds = {str(number): 15.0 for number in range(1, 10)}
    fields = {"concerns": [1], "residents": residents, "now": 100.0, "min_resident_seconds": bounds}
    assert why_words.spared(fields) == (
        "spared: `m2` (pinned), `m3` (no sleep mode), `m4` (another replica of the same model), `m5` (not ready yet), "
        "`m6` (ready for 5 s of at least 15 s), `m7` (in use), `m8` (priority 5), "
        "`m9` (it would have cost more, or was not needed)"
    )


def test_an_eviction_tells_both_sides_and_who_was_spared() -> None:
    small = factories.deployment(pinned=True, weights_bytes=5 * factories.GIB)
    idle, pinned = large(State.READY), factories.replica(State.READY, deployment=small)
    wanted = large(State.SLEEPING)
    say()
    demand.request_ready(wanted.deployment_id)
    [gone] = why.timeline(Subject(idle.deployment.name), 10)
    assert (gone.code, gone.actor, gone.inputs["concerns"]) == ("evicted", "gateway", [idle.pk])
    assert f"evicted for `{wanted.deployment.name}`: idle" in gone.sentence
    assert f"spared: `{pinned.deployment.name}` (pinned)" in gone.sentence
    [comes] = why.timeline(Subject(wanted.deployment.name, wanted.pk), 10)
    assert f"wakes once `{idle.deployment.name}` made room" in comes.sentence


def test_history_and_decisions_are_one_line_the_newest_first() -> None:
    replica = factories.replica(State.READY)
    verbs.sleep(replica, actor="ada")
    decided = Decided(
        Kind.LIMIT, "kv_limit", "a limit", replica.deployment.name, "governor", replica.pk, {"why": "free"}
    )
    decisions.keep(decided)
    replica.refresh_from_db()
    transition.transition(replica, State.DRAINING, reason="drain", actor="worker")
    entries = why.timeline(Subject(replica.deployment.name), 10)
    assert [one.kind for one in entries] == ["history", "limit", "history"]
    assert entries == why.timeline(Subject(replica.deployment.name, replica.pk), 10)
    assert len(why.timeline(Subject(replica.deployment.name), 2)) == 2
    late = timezone.now() + timedelta(hours=1)
    assert why.timeline(Subject(replica.deployment.name), 10, since=late) == []


def test_a_replica_says_how_it_stands_and_one_that_went_is_known_by_its_history() -> None:
    replica = factories.replica(State.READY)
    verbs.sleep(replica, actor="ada")
    subject = why.replica(replica.pk)
    assert subject == Subject(replica.deployment.name, replica.pk)
    assert why.now(subject).startswith(f"{replica} is ready since ")
    assert ", headed for sleeping" in why.now(subject)
    name = replica.deployment.name
    Replica.objects.all().delete()
    assert why.replica(replica.pk) == Subject(name, replica.pk)
    assert why.now(subject) == f"{subject.name} is gone"
    assert why.replica(replica.pk + 1) is None


def test_a_deployment_says_what_it_waits_for_and_what_each_replica_does() -> None:
    deployment = factories.deployment(goal="ready", message="It waits for room: 42 GiB are needed.")
    asleep = factories.replica(State.SLEEPING, deployment=deployment)
    subject = why.deployment(deployment.name)
    assert subject is not None
    assert why.now(subject).startswith(f"{deployment.name} is to be served; It waits for room: 42 GiB are needed; ")
    assert f"{asleep} is sleeping at level 1 since " in why.now(subject)
    assert why.deployment("nobody") is None


def test_a_window_of_any_name_is_told_from_rules() -> None:
    assert {rule: why_words.who(f"rule:{rule}") for rule in ("idle", "evict", "host_memory", "rehearsal")} == {
        "idle": "the idle rule",
        "evict": "the eviction rules",
        "host_memory": "the host RAM rule",
        "rehearsal": "the rehearsal rule",
    }
    assert why_words.who("policy:idle") == "the window idle"
