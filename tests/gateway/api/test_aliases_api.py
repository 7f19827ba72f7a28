"""Aliases over REST and in the admin: other names for deployments, announced to gateways once committed."""

from typing import Any

import pytest
from django.test import Client

from gateway.access.rows import load_aliases
from gateway.models import Alias
from sardeenz import events, redis
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.user("staff", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def heard() -> Any:
    """Whether gateways were told to look again since the last time this was asked."""
    channel = redis.client().pubsub()
    channel.subscribe(events.ROUTES_CHANNEL)
    assert channel.get_message(timeout=5)["type"] == "subscribe"

    def told() -> bool:
        return channel.get_message(timeout=0.2) is not None

    yield told
    channel.close()


def send(client: Client, method: str, path: str = "", **fields: object) -> tuple[int, Any]:
    answer = getattr(client, method)(f"/api/aliases{path}", fields, content_type="application/json")
    return answer.status_code, answer.json() if answer.content else None


def test_targets_are_named_or_numbered_and_keep_their_order(staff: Client) -> None:
    chat, canary = factories.deployment(name="chat", served_name="org/chat"), factories.deployment(name="canary")
    targets = [{"deployment": "canary", "weight": 10}, {"deployment": chat.pk}]
    status, row = send(staff, "post", name="gpt-4", targets=targets)
    assert (status, row["name"]) == (201, "gpt-4")
    assert row["targets"] == [
        {"deployment": canary.pk, "deployment_name": "canary", "served_name": "canary", "weight": 10},
        {"deployment": chat.pk, "deployment_name": "chat", "served_name": "org/chat", "weight": 1},
    ]
    assert send(staff, "get", f"/{row['id']}") == (200, row)
    assert staff.get("/api/aliases?name=gpt-4").json()["results"] == [row]
    assert staff.get("/api/aliases?name=other").json()["results"] == []


def test_a_list_that_is_empty_is_told_under_its_name(staff: Client) -> None:
    status, body = send(staff, "post", name="gpt-4", targets=[])
    assert (status, body["code"], body["message"]) == (400, "invalid_spec", "targets: it may not be empty")


def test_new_targets_replace_the_old_and_a_new_name_leaves_them(staff: Client) -> None:
    first, second = factories.deployment(), factories.deployment()
    alias = factories.alias("a", (first, 1), (second, 0))
    targets = [{"deployment": second.pk, "weight": 5}, {"deployment": first.pk, "weight": 0}]
    assert send(staff, "patch", f"/{alias.pk}", targets=targets)[0] == 200
    assert send(staff, "patch", f"/{alias.pk}", name="b")[1]["name"] == "b"
    assert load_aliases() == [("b", ((second.pk, 5), (first.pk, 0)))]


def test_every_change_is_announced_once_committed(
    staff: Client, heard: Any, django_capture_on_commit_callbacks: Any
) -> None:
    target = [{"deployment": factories.deployment().pk}]
    assert not heard()
    with django_capture_on_commit_callbacks(execute=True):
        alias = send(staff, "post", name="a", targets=target)[1]
        assert not heard()
    assert heard()
    with django_capture_on_commit_callbacks(execute=True):
        send(staff, "patch", f"/{alias['id']}", targets=target)
    assert heard()
    with django_capture_on_commit_callbacks(execute=True):
        assert send(staff, "delete", f"/{alias['id']}") == (204, None)
    assert heard()
    assert not Alias.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "chat"}, "name"),
        ({"name": "org/chat"}, "name"),
        ({"name": "taken"}, "name"),
        ({"name": "-dash"}, "name"),
        ({"targets": []}, "targets"),
        ({"targets": [{"deployment": "nobody"}]}, "targets"),
        ({"targets": [{"deployment": "chat", "weight": 0}]}, "targets"),
        ({"targets": [{"deployment": "chat", "weight": -1}]}, "targets"),
        ({"targets": [{"deployment": "chat"}, {"deployment": "chat"}]}, "targets"),
        ({"targets": "chat"}, "targets"),
    ],
)
def test_a_wrong_field_is_named(staff: Client, changes: dict[str, Any], field: str) -> None:
    deployment = factories.deployment(name="chat", served_name="org/chat")
    factories.alias("taken", (deployment, 1))
    given: dict[str, Any] = {"name": "gpt-4", "targets": [{"deployment": "chat"}]}
    status, body = send(staff, "post", **(given | changes))
    assert (status, body["code"], list(body["fields"])) == (400, "invalid_spec", [field]), body
    assert Alias.objects.count() == 1


def test_a_reading_key_looks_and_does_not_act(client: Client) -> None:
    headers = {"Authorization": f"Bearer {factories.api_key('read')[1]}"}
    alias = factories.alias("a", (factories.deployment(), 1))
    assert client.get("/api/aliases", headers=headers).status_code == 200
    assert client.delete(f"/api/aliases/{alias.pk}", headers=headers).status_code == 403


def test_listing_takes_as_many_queries_for_many_as_for_one(staff: Client, django_assert_max_num_queries: Any) -> None:
    for place in range(5):
        factories.alias(f"a{place}", (factories.deployment(), 1), (factories.deployment(), 1))
    with django_assert_max_num_queries(6):
        assert len(staff.get("/api/aliases").json()["results"]) == 5


def form(name: str, *targets: tuple[int, int, int]) -> dict[str, object]:
    fields: dict[str, object] = {"name": name, "targets-TOTAL_FORMS": len(targets), "targets-INITIAL_FORMS": 0}
    for at, (deployment, weight, place) in enumerate(targets):
        parts = {"deployment": deployment, "weight": weight, "place": place}
        fields |= {f"targets-{at}-{part}": value for part, value in parts.items()}
    return fields


def test_the_admin_makes_an_alias_with_its_targets(
    staff: Client, heard: Any, django_capture_on_commit_callbacks: Any
) -> None:
    first, second = factories.deployment(), factories.deployment()
    with django_capture_on_commit_callbacks(execute=True):
        done = staff.post("/admin/gateway/alias/add/", form("gpt-4", (first.pk, 0, 1), (second.pk, 9, 0)))
        assert done.status_code == 302
    assert heard()
    assert load_aliases() == [("gpt-4", ((second.pk, 9), (first.pk, 0)))]
    assert f"{second} 9, {first} 0" in staff.get("/admin/gateway/alias/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        staff.post(f"/admin/gateway/alias/{Alias.objects.get().pk}/delete/", {"post": "yes"})
    assert heard()
    assert load_aliases() == []


def test_the_admin_refuses_what_the_api_refuses(staff: Client) -> None:
    deployment = factories.deployment(name="chat")
    for fields in (form("chat", (deployment.pk, 1, 0)), form("gpt-4", (deployment.pk, 0, 0)), form("gpt-4")):
        assert staff.post("/admin/gateway/alias/add/", fields).status_code == 200
    assert not Alias.objects.exists()


@pytest.mark.parametrize("name", ["claude-3-5-sonnet@20240620", "gpt-4+vision", "org/model:4b@main"])
def test_names_that_clients_send_are_names(staff: Client, name: str) -> None:
    factories.deployment(name="chat")
    assert send(staff, "post", name=name, targets=[{"deployment": "chat"}])[0] == 201
    assert [alias.name for alias in load_aliases()] == [name]
    changed = staff.patch(
        f"/api/deployments/{factories.deployment(name='code').pk}",
        {"served_name": f"{name}-x"},
        content_type="application/json",
    )
    assert (changed.status_code, changed.json()["served_name"]) == (200, f"{name}-x")


@pytest.mark.parametrize("target", [{}, {"weight": 1}])
def test_a_change_of_targets_names_each_deployment(staff: Client, target: dict[str, int]) -> None:
    alias = factories.alias("a", (factories.deployment(), 1))
    status, told = send(staff, "patch", f"/{alias.pk}", targets=[target])
    assert (status, told["code"]) == (400, "invalid_spec")
    assert told["fields"] == {"targets": ["give each target its deployment"]}
    assert alias.targets.count() == 1
