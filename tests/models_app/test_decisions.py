"""What is decided is kept with its inputs: placements, refusals, waits and limits."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from gpus.models import GPU
from models_app import decisions, tasks
from models_app.decisions import Decided, Kind
from models_app.errors import NoCapacity
from models_app.lifecycle import scale, verbs
from models_app.lifecycle.setbacks import Setbacks
from models_app.memory import governor
from models_app.memory.governor import Wish
from models_app.memory.reclaim import Claimant, Device, Neighbour, Scene
from models_app.models import Decision, Replica, Transition
from models_app.node.limit_changes import TOLD_SECONDS, LimitChanges
from models_app.policy import demand, idle
from models_app.states import State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_demand import large, say

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def first_gpu() -> GPU:
    return factories.gpu()


def kept(kind: Kind) -> list[Decision]:
    return list(Decision.objects.filter(kind=kind).order_by("id"))


def test_a_placement_says_which_gpus_there_were_and_what_each_had_free() -> None:
    other = factories.gpu()
    factories.replica(State.READY, gpu=GPU.objects.get(index=0))
    [replica] = verbs.deploy(factories.deployment(), actor="ada")
    entry = Transition.objects.get(replica=replica, reason="deploy")
    assert replica.gpu == other
    name = other.node.name
    assert entry.message == (
        f"placed on GPU 1 of {name}, 79 GiB free: 18 GiB are needed; others: GPU 0 of {name} has 61 GiB"
    )
    assert entry.fields["needed_bytes"] == 18 * GIB
    assert [(one["free_bytes"], one["chosen"]) for one in entry.fields["candidates"]] == [
        (61 * GIB, False),
        (79 * GIB, True),
    ]


def test_what_finds_no_gpu_is_kept_once_with_the_arithmetic_however_often_it_is_tried() -> None:
    factories.replica(State.READY, deployment=factories.deployment(weights_bytes=60 * GIB))
    wanted = factories.deployment(weights_bytes=40 * GIB)
    assert verbs.deploy(wanted, actor="ada") == []
    for _ in range(3):
        scale.bring_about(Setbacks())
    [decision] = kept(Kind.PLACEMENT)
    assert (decision.code, decision.deployment_name, decision.actor) == ("no_capacity", wanted.name, "ada")
    assert decision.sentence.startswith(f"{wanted.name}: It waits for room: 42 GiB are needed, GPU 0 of ")
    assert decision.inputs["needed_bytes"] == 42 * GIB
    assert decision.inputs["free_bytes"] == 17 * GIB


def test_what_can_never_fit_after_an_edit_is_kept() -> None:
    wanted = factories.deployment()
    verbs.deploy(wanted, actor="ada")
    Replica.objects.all().delete()
    type(wanted).objects.filter(pk=wanted.pk).update(weights_bytes=500 * GIB)
    scale.bring_about(Setbacks())
    [decision] = kept(Kind.PLACEMENT)
    assert (decision.code, decision.actor) == ("never_fits", "control")


def test_a_request_that_nobody_may_make_room_for_is_kept_with_who_stays() -> None:
    large(State.READY, pinned=True)
    wanted = large(State.SLEEPING)
    say()
    for _ in range(3):
        with pytest.raises(NoCapacity):
            demand.request_ready(wanted.deployment_id)
    [decision] = kept(Kind.EVICTION)
    assert (decision.replica_id, decision.times, decision.actor) == (wanted.pk, 3, "gateway")
    assert "what has to stay: `" in decision.sentence
    assert "(pinned)" in decision.sentence
    assert decision.inputs["verdict"] == "refuse"
    assert [one["pinned"] for one in decision.inputs["residents"]] == [True]


def test_an_idle_sleep_says_how_long_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = factories.replica(
        State.READY,
        deployment=factories.deployment(idle_sleep_seconds=60.0),
        ready_at=timezone.now() - timedelta(seconds=90),
    )
    idle.step_down()
    entry = Transition.objects.get(replica=replica, reason="sleep")
    assert entry.actor == "rule:idle"
    assert entry.message == "nobody asked for it for 90 s; its deployment lets it be idle for 60 s"
    assert entry.fields["idle_sleep_seconds"] == 60.0


def test_a_refused_verb_is_kept_with_who_asked(client: Client) -> None:
    client.force_login(factories.user("ada", is_staff=True))
    replica = factories.replica(State.SLEEPING)
    asked = {"path": f"/api/replicas/{replica.pk}/move", "content_type": "application/json"}
    assert client.post(data={"gpu": replica.gpu.uuid}, **asked).status_code == 409
    [decision] = kept(Kind.REFUSAL)
    assert (decision.code, decision.replica_id, decision.actor) == ("illegal_transition", replica.pk, "ada")
    assert decision.sentence.startswith(f"move of {replica} was refused: {replica} is on GPU 0 of ")


def test_a_caller_without_the_right_leaves_no_decision(client: Client) -> None:
    client.force_login(factories.user("viewer"))
    replica = factories.replica(State.READY)
    assert client.post(f"/api/replicas/{replica.pk}/sleep").status_code == 403
    assert not Decision.objects.exists()


def test_the_same_is_counted_within_a_minute_and_written_anew_later() -> None:
    decided = Decided(Kind.WAIT, "waits_for_turn", "chat/1: it waits", "chat", "worker", 1)
    decisions.keep(decided)
    decisions.keep(decided)
    [first] = kept(Kind.WAIT)
    assert first.times == 2
    long_ago = timezone.now() - timedelta(minutes=2)
    Decision.objects.update(at=long_ago, last_at=long_ago)
    decisions.keep(decided)
    assert [one.times for one in kept(Kind.WAIT)] == [2, 1]


def test_limits_are_kept_for_a_day_and_the_rest_as_long_as_the_history() -> None:
    for kind in (Kind.LIMIT, Kind.REFUSAL):
        for days in (0, 2, settings.HISTORY_DAYS + 1):
            decisions.keep_all([Decided(kind, "code", f"{days}", "chat", "x")])
            Decision.objects.filter(sentence=f"{days}").update(at=timezone.now() - timedelta(days=days, minutes=1))
    tasks.prune_history()
    assert [one.sentence for one in kept(Kind.LIMIT)] == ["0"]
    assert [one.sentence for one in kept(Kind.REFUSAL)] == ["0", "2"]


# --- the governor's limits --------------------------------------------------------------------------------------
def neighbour(number: int, mapped: int, limit: int) -> Neighbour:
    return Neighbour(number, f"m{number}", frozenset({"GPU-0"}), mapped * GIB, GIB, limit * GIB, 50 * GIB)


def looked(one: Replica, *, limit: int, claims: bool = False) -> tuple[Any, ...]:
    """A GPU on which this engine keeps what another one wants."""
    claim = Claimant(99, "late", {"GPU-0": 10 * GIB}, GIB)
    scene = Scene(
        {"GPU-0": Device("GPU 0", 2 * GIB, GIB)},
        (claim,) if claims else (),
        (neighbour(one.pk, 30, limit), neighbour(one.pk + 1, 20, 50)),
    )
    wishes = {one.pk + 1: Wish(50 * GIB, 2, 1)}
    return scene, governor.decide(scene, wishes), wishes


def test_a_limit_is_told_with_what_everybody_wanted() -> None:
    replica = factories.replica()
    told = LimitChanges().news(replica, *looked(replica, limit=50), now=0.0)
    assert told is not None
    assert (told.code, told.replica_id, told.inputs["why"]) == ("kv_limit", replica.pk, "share")
    assert told.sentence.startswith(f"{replica}: its KV memory is limited to ")
    assert "instead of 50 GiB: others on its GPU want KV memory too" in told.sentence
    [own, other] = told.inputs["engines"]  # type: ignore[misc]
    assert (own["mapped_bytes"], other["kv_weight"], other["priority"]) == (30 * GIB, 2, 1)


def test_a_limit_that_hardly_moves_is_told_once_and_another_reason_at_once() -> None:
    replica, changes = factories.replica(), LimitChanges()
    assert changes.news(replica, *looked(replica, limit=50), now=0.0) is not None
    assert changes.news(replica, *looked(replica, limit=49), now=2 * TOLD_SECONDS) is None
    told = changes.news(replica, *looked(replica, limit=49, claims=True), now=2 * TOLD_SECONDS)
    assert told is not None
    assert told.inputs["why"] == "claim"
    assert told.inputs["claims"] == [{"name": "late", "replica": 99, "needs_bytes": {"GPU-0": 10 * GIB}}]
    changes.forget_all_but({})
    assert changes.news(replica, *looked(replica, limit=49, claims=True), now=2 * TOLD_SECONDS) is not None
