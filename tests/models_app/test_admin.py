"""The admin shows every row, changes no state by hand, and offers the verbs as actions."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from models_app import decisions
from models_app.models import Deployment, MemoryProfile, Override, Plan, Replica, Transition, Window, WindowState
from models_app.states import Goal, State
from tests import factories

pytestmark = pytest.mark.django_db
MODELS = sorted(apps.get_app_config("models_app").get_models(), key=lambda model: model.__name__)


@pytest.fixture
def superuser(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True, is_superuser=True))
    return client


def act(client: Client, model: type, action: str, *rows: object) -> list[str]:
    """Use an action on rows; what the page says then."""
    address = reverse(f"admin:models_app_{model.__name__.lower()}_changelist")
    chosen = [row.pk for row in rows]  # type: ignore[attr-defined]
    answer = client.post(address, {"action": action, "_selected_action": chosen}, follow=True)
    return [str(message) for message in answer.context["messages"]]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_pages_that_open(superuser: Client, model: type) -> None:
    assert model in admin.site._registry
    replica = factories.replica()
    Transition.objects.create(
        replica=replica, deployment_name="x", generation=1, new="ready", goal="ready", actor="test"
    )
    MemoryProfile.objects.create(key="k", about={}, weights_bytes=1, overhead_bytes=1, load_seconds=1)
    Plan.objects.create(action={"verb": "sleep"}, outcome={}, actor="test", expires_at=timezone.now())
    window = Window.objects.create(name="nights", cron="0 20 * * *", duration_seconds=3600)
    WindowState.objects.create(window=window, deployment=replica.deployment, level="awake")
    Override.objects.create(deployment=replica.deployment, until=timezone.now(), actor="test")
    decisions.keep(decisions.Decided(decisions.Kind.WAIT, "waits", "it waits", "x", "test"))
    name = f"admin:models_app_{model.__name__.lower()}"
    assert superuser.get(reverse(f"{name}_changelist")).status_code == 200
    row = model.objects.first()  # type: ignore[attr-defined]
    assert superuser.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200


def test_a_state_cannot_be_written_by_hand(superuser: Client) -> None:
    replica = factories.replica()
    address = reverse("admin:models_app_replica_change", args=[replica.pk])
    assert superuser.post(address, {"state": "stopped", "goal": "stopped"}).status_code == 403
    assert superuser.post(reverse("admin:models_app_replica_delete", args=[replica.pk])).status_code == 403
    assert superuser.get(reverse("admin:models_app_replica_add")).status_code == 403
    replica.refresh_from_db()
    assert replica.state == State.READY


@pytest.mark.parametrize(
    ("action", "state", "goal"),
    [("stop", State.READY, Goal.STOPPED), ("sleep", State.READY, Goal.SLEEPING), ("wake", State.SLEEPING, Goal.READY)],
)
def test_a_verb_goes_through_lifecycle(superuser: Client, action: str, state: State, goal: Goal) -> None:
    replica = factories.replica(state)
    act(superuser, Replica, action, replica)
    replica.refresh_from_db()
    assert (replica.state, replica.goal) == (state, goal)
    assert Transition.objects.get().actor == "olive"


def test_what_cannot_be_done_is_said_and_stops_nothing_else(superuser: Client) -> None:
    stopped, ready = factories.replica(State.STOPPED), factories.replica()
    said = act(superuser, Replica, "sleep", stopped, ready)
    assert any("cannot sleep" in text for text in said)
    ready.refresh_from_db()
    assert ready.goal == Goal.SLEEPING


def test_a_deployment_is_deleted_by_stopping_it(superuser: Client) -> None:
    replica = factories.replica()
    deployment = replica.deployment
    delete = reverse("admin:models_app_deployment_delete", args=[deployment.pk])
    assert superuser.post(delete, {"post": "yes"}).status_code == 403
    act(superuser, Deployment, "remove", deployment)
    replica.refresh_from_db()
    assert (Deployment.objects.get().deleting, replica.goal) == (True, Goal.STOPPED)


def test_somebody_without_the_right_to_change_has_no_verbs(client: Client) -> None:
    client.force_login(factories.user(is_staff=True))
    assert client.get(reverse("admin:models_app_replica_changelist")).status_code == 403
