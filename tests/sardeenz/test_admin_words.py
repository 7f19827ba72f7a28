"""The admin: branded, in GiB and to the second, judging as the API does, and leaving a trace of every edit."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from models_app.models import Deployment, EngineRuntime, MemoryProfile, Transition
from models_app.states import State
from tests import factories

pytestmark = pytest.mark.django_db
GIB = factories.GIB


@pytest.fixture
def superuser(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True, is_superuser=True))
    return client


def page(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def change(client: Client, row: Any, **fields: object) -> Any:
    """Send the change form back as the page shows it, with these fields otherwise."""
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    form = client.get(address).context["adminform"].form
    data: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = field.prepare_value(form.get_initial_for_field(field, name))
        data[name] = getattr(value, "pk", "" if value is None else value)
        if value is False:
            del data[name]
    for formset in client.get(address).context["inline_admin_formsets"]:
        data |= {f"{formset.formset.prefix}-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    data |= {name: value for name, value in fields.items() if value is not False}
    if isinstance(data.get("capture_until"), datetime):
        data["capture_until_0"] = data["capture_until_1"] = ""
    return client.post(address, data)


def wrong(answer: Any) -> dict[str, list[str]]:
    return dict(answer.context["adminform"].form.errors)


def test_every_page_says_whose_it_is(superuser: Client) -> None:
    assert "Sardeenz" in page(superuser, reverse("admin:index"))
    assert "Django administration" not in page(superuser, reverse("admin:index"))
    superuser.logout()
    assert "Django" not in page(superuser, reverse("admin:login"))


def test_no_list_shows_raw_bytes_or_a_time_without_seconds_and_zone(superuser: Client) -> None:
    replica = factories.replica(State.SLEEPING)
    MemoryProfile.objects.create(key="k", about={}, weights_bytes=16 * GIB, overhead_bytes=GIB, load_seconds=1)
    Transition.objects.create(replica=replica, deployment_name="x", generation=1, new="ready", goal="ready")
    factories.node().save()
    replica.gpu.node.seen_at = timezone.now()
    replica.gpu.node.save()
    for model in admin.site._registry:
        if model._meta.app_label in ("gpus", "models_app", "gateway"):
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            shown = page(superuser, reverse(f"{name}_changelist"))
            body = shown[shown.find('id="result_list"') :]
            assert not re.search(r">\d{7,}<", body), model
            assert not re.search(r"[ap]\.m\.", body), model
    shown = page(superuser, reverse("admin:gpus_gpu_changelist"))
    assert "80 GiB" in shown
    assert re.search(r"\d\d:\d\d:\d\d UTC", page(superuser, reverse("admin:gpus_node_changelist")))
    shown = page(superuser, reverse("admin:models_app_memoryprofile_changelist"))
    assert "16 GiB" in shown


def test_a_size_is_typed_as_one_and_stays_exact_where_it_was_not_touched(superuser: Client) -> None:
    deployment = factories.deployment(weights_bytes=16 * GIB + 12345)
    assert change(superuser, deployment, kv_cap_bytes="24GiB").status_code == 302
    deployment.refresh_from_db()
    assert (deployment.weights_bytes, deployment.kv_cap_bytes) == (16 * GIB + 12345, 24 * GIB)
    assert "not a size" in str(wrong(change(superuser, deployment, kv_cap_bytes="much")))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kv_cap_bytes", "1 MiB"),
        ("tensor_parallel", 0),
        ("idle_sleep_seconds", 0),
        ("replicas", 65),
        ("extra_args", '["--port", "1"]'),
        ("served_name", "-dash"),
        ("served_name", "taken"),
    ],
)
def test_it_refuses_what_the_api_refuses(superuser: Client, field: str, value: object) -> None:
    factories.deployment(name="taken")
    deployment = factories.deployment()
    answer = change(superuser, deployment, **{field: value})
    assert answer.status_code == 200
    assert list(wrong(answer)) == [field]
    assert Deployment.objects.get(pk=deployment.pk).seq == 1


def test_the_served_name_stays_while_engines_answer_to_it(superuser: Client) -> None:
    replica = factories.replica()
    assert "stop them first" in str(wrong(change(superuser, replica.deployment, served_name="new")))


def test_an_edit_is_in_the_history_with_who_and_what(superuser: Client) -> None:
    deployment = factories.deployment(priority=0)
    change(superuser, deployment, priority=3, kv_cap_bytes="24GiB")
    (event,) = Transition.objects.all()
    assert (event.actor, event.reason, event.deployment_name) == ("olive", "edited", deployment.name)
    assert event.message == "priority: 0 -> 3; KV cap: 32 GiB -> 24 GiB"


def test_so_is_an_edit_through_the_api_and_none_where_nothing_changed(superuser: Client) -> None:
    deployment = factories.deployment(environment={"HF_TOKEN": "a"})
    for given in ({"pinned": True, "environment": {"HF_TOKEN": "b"}}, {"pinned": True}):
        superuser.patch(f"/api/deployments/{deployment.pk}", given, content_type="application/json")
    (event,) = Transition.objects.all()
    assert sorted(event.message.split("; ")) == ["environment changed", "pinned: no -> yes"]


def test_secrets_of_an_environment_are_hidden_and_survive_an_edit(superuser: Client) -> None:
    runtime = factories.runtime(environment={"HF_TOKEN": "hf_x"})
    address = reverse("admin:models_app_engineruntime_change", args=[runtime.pk])
    assert "hf_x" not in page(superuser, address)
    sent = {"version": "0.31", "environment": '{"HF_TOKEN": "(hidden)", "A": "1"}'}
    answer = change(superuser, runtime, **sent)
    assert answer.status_code == 302, wrong(answer)
    assert EngineRuntime.objects.get(pk=runtime.pk).environment == {"HF_TOKEN": "hf_x", "A": "1"}
    deployment = factories.deployment(environment={"API_TOKEN": "t_x"})
    assert "t_x" not in page(superuser, reverse("admin:models_app_deployment_change", args=[deployment.pk]))


def test_moments_are_written_with_their_zone() -> None:
    moment = datetime(2030, 1, 31, 12, 5, 9, tzinfo=UTC)
    from django.utils import formats

    assert formats.date_format(moment, "DATETIME_FORMAT") == "2030-01-31 12:05:09 UTC"
