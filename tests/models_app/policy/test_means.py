"""By which means a model makes room for another: at which level it sleeps, or that its engine ends."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from gpus.models import Node
from models_app.lifecycle.next_step import Effect, Seen, Step, next_step
from models_app.memory import fit, placement
from models_app.models import Replica
from models_app.policy import consent, demand, verdicts
from models_app.states import Goal, State
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_consent import large as on_gpu
from tests.models_app.policy.test_consent import operator, post
from tests.models_app.policy.test_demand import large, last, now, say

__all__ = ["operator"]
pytestmark = pytest.mark.django_db


def test_a_model_that_cannot_sleep_is_stopped_until_its_next_request() -> None:
    wanted, sleepless = large(State.SLEEPING), large(State.READY, sleep_enabled=False)
    say()
    demand.request_ready(wanted.deployment_id)
    assert (now(sleepless), now(wanted)) == ((Goal.SLEEPING, "evicted"), (Goal.READY, "wake"))
    assert (last(sleepless).fields["means"], last(sleepless).fields["why_these_means"]) == (
        "stop",
        "it has no sleep mode",
    )
    assert placement.room_comes(wanted)
    stopping = next_step(State.DRAINING, Goal.SLEEPING, Seen(alive=True, quiet=True, rests=True))
    assert stopping == Step(State.STOPPING, Effect.TERMINATE, "drained")


@pytest.mark.parametrize("level", [1, 2])
def test_the_history_says_why_a_model_sleeps_at_this_level(level: int) -> None:
    idle, wanted = large(State.READY), large(State.SLEEPING)
    if level == 2:
        Node.objects.filter(pk=idle.gpu.node_id).update(sleep_budget_bytes=GIB)
    say()
    demand.request_ready(wanted.deployment_id)
    idle.refresh_from_db()
    fields = last(idle).fields
    assert (idle.sleep_level, fields["means"]) == (level, f"sleep_{level}")
    assert bool(fields["why_these_means"]) == ("; at level 2, for" in idle.message) == (level == 2)


def test_one_that_level_2_breaks_ends_where_host_memory_is_short() -> None:
    drafting, wanted = large(State.READY), large(State.SLEEPING)
    drafting.spec["extra_args"] = ["--speculative-config", '{"method": "eagle"}']
    drafting.save()
    Node.objects.filter(pk=drafting.gpu.node_id).update(sleep_budget_bytes=GIB)
    say()
    demand.request_ready(wanted.deployment_id)
    drafting.refresh_from_db()
    assert (drafting.sleep_level, last(drafting).fields["means"]) == (2, "stop")
    assert "its engine ends, for" in drafting.message
    assert "a model that drafts tokens" in last(drafting).fields["why_these_means"]


def test_one_that_cannot_sleep_is_offered_to_be_stopped(operator: Client) -> None:
    sleepless = large(State.READY, sleep_enabled=False)
    say()
    wish = factories.deployment(weights_bytes=60 * GIB)
    _, body = post(operator, f"deployments/{wish.pk}/deploy", gpu=sleepless.gpu.uuid)
    [offered] = body["fields"]["evictable"]
    assert (offered["replica"], offered["means"], offered["freed_bytes"]) == (sleepless.pk, "stop", 62 * GIB)
    status, _ = post(operator, f"deployments/{wish.pk}/deploy", gpu=sleepless.gpu.uuid, evict=True)
    assert (status, now(sleepless)) == (202, (Goal.SLEEPING, "evicted"))


def alone(state: State = State.READY, *, sleep_budget_bytes: int = 200 * GIB, **fields: bool) -> Replica:
    """One that fills the only GPU of a node of its own."""
    home = factories.node(name=f"node-{Node.objects.count()}", sleep_budget_bytes=sleep_budget_bytes)
    return on_gpu(state, gpu=factories.gpu(node=home), **fields)


def test_a_look_at_many_says_by_which_means_as_the_decision_about_each_does() -> None:
    short = [alone(sleep_budget_bytes=GIB) for _ in range(2)]
    rows = [alone(), alone(sleep_enabled=False), *short, alone(State.PENDING)]
    short[1].spec["extra_args"] = ["--speculative-config", '{"method": "eagle"}']
    short[1].save()
    looked = verdicts.means_of({row.pk for row in rows})
    assert [looked[row.pk].code for row in rows] == ["sleep_1", "stop", "sleep_2", "stop", "sleep_1"]
    assert looked == {row.pk: verdicts.means(row) for row in rows}


def test_who_could_make_room_takes_as_many_queries_on_many_nodes_as_on_one() -> None:
    wish, counts = factories.deployment(weights_bytes=60 * GIB), []
    for more in (1, 3):
        for _ in range(more):
            alone()
        say()
        with CaptureQueriesContext(connection) as queries:
            found = consent.of_deployment(fit.of_deployment(wish, replicas=1), wish)
        assert all(len(one["evictable"]) == 1 for one in found["gpus"])
        counts.append(len(queries))
    assert counts[0] == counts[1]
