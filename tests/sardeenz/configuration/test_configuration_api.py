"""The configuration over the API: export, plan, apply, versions and rollback, on real rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from gateway.models import Alias, Team
from gpus.models import GPU
from models_app.models import Deployment, EngineRuntime, Model, Replica, Transition
from models_app.states import Goal, State
from sardeenz.configuration.models import ConfigurationVersion
from tests import factories

pytestmark = pytest.mark.django_db
GIB = factories.GIB


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


@pytest.fixture
def other() -> Client:
    client = Client()
    client.force_login(factories.user("bob", is_staff=True))
    return client


@pytest.fixture
def fleet() -> Deployment:
    """One of everything."""
    factories.gpu()
    chat = factories.deployment(
        name="chat", environment={"HF_TOKEN": "hf_old", "WANDB_MODE": "off"}, extra_args=["--seed", "7"], replicas=2
    )
    factories.alias("gpt-4", (chat, 90), (factories.deployment(name="no"), 0))
    factories.team("lab", weight=3, tokens_per_day=5000, gpu_seconds_per_day=1.5)
    return chat


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    monkeypatch.setattr(settings, "SECRETS_DIR", tmp_path)
    return lambda name, value: (tmp_path / name).write_text(value) and None


def export(client: Client) -> str:
    return str(client.get("/api/configuration").json()["document"])


def send(client: Client, verb: str, document: str, **more: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/configuration/{verb}", {"document": document, **more}, content_type="application/json")
    return answer.status_code, answer.json()


def apply(client: Client, document: str, **more: Any) -> dict[str, Any]:
    status, body = send(client, "apply", document, **more)
    assert status == 200, body
    return body


def body_of(document: str) -> str:
    """Without its head."""
    return document.partition("\nbase:")[2].partition("\n")[2]


def wipe() -> None:
    Alias.objects.all().delete()
    for rows in (Replica, Deployment, Model, EngineRuntime, Team, ConfigurationVersion):
        if rows is Replica:
            for replica in Replica.objects.all():
                replica.reservations.all().delete()
        rows._default_manager.all().delete()


def test_an_export_applied_where_nothing_is_gives_the_same_fleet(
    operator: Client, fleet: Deployment, secret: Callable[[str, str], None]
) -> None:
    Deployment.objects.filter(name="chat").update(goal=Goal.READY)
    document = export(operator)
    assert "hf_old" not in document
    secret("chat.HF_TOKEN", "hf_old\n")
    wipe()
    answer = apply(operator, document)
    assert {each["verb"] for each in answer["changes"]} == {"create"}
    assert any("is not known here" in note for note in answer["notes"])
    assert body_of(export(operator)) == body_of(document)
    chat = Deployment.objects.get(name="chat")
    assert (chat.environment["HF_TOKEN"], chat.goal, chat.replicas) == ("hf_old", Goal.READY, 2)
    assert chat.placed.count() == 2
    assert Deployment.objects.get(name="no").goal == Goal.STOPPED
    assert [(each.deployment.name, each.weight) for each in Alias.objects.get().targets.all()] == [
        ("chat", 90),
        ("no", 0),
    ]


def test_what_is_exported_changes_nothing_when_applied(operator: Client, fleet: Deployment) -> None:
    document = export(operator)
    before = Deployment.objects.get(name="chat").seq
    for more in ({}, {"prune": True}, {"base": ""}):
        assert apply(operator, document, **more)["changes"] == []
    assert Deployment.objects.get(name="chat").seq == before
    assert ConfigurationVersion.objects.count() == 1


def test_a_change_goes_by_the_rules_of_the_row_and_stands_in_the_history(operator: Client, fleet: Deployment) -> None:
    factories.replica(State.READY, deployment=fleet)
    plan = send(operator, "plan", "deployments: {chat: {kv_cap: 6GiB, priority: 3, max_model_len: 4096}}")[1]
    assert plan["changes"][0]["sentences"] == [
        "KV cap: 32 GiB -> 6 GiB",
        "priority: 0 -> 3",
        "longest context: none -> 4096",
    ]
    assert plan["restarts"] == [
        f"chat/{fleet.placed.get().pk} runs with other settings until it is restarted: longest context, KV cap"
    ]
    fleet.refresh_from_db()
    assert (fleet.kv_cap_bytes, Transition.objects.count(), ConfigurationVersion.objects.count()) == (32 * GIB, 0, 1)
    done = apply(operator, "deployments: {chat: {kv_cap: 6GiB, priority: 3, max_model_len: 4096}}", plan=plan["plan"])
    fleet.refresh_from_db()
    assert (fleet.kv_cap_bytes, fleet.priority, done["version"]) == (6 * GIB, 3, 2)
    assert Transition.objects.get().actor == "olive (version 2)"
    assert ConfigurationVersion.objects.get(number=2).author == "olive"


def test_a_plan_places_nothing_and_pokes_nobody(
    operator: Client, fleet: Deployment, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        status, plan = send(operator, "plan", "deployments: {chat: {goal: ready}}")
    assert (status, Replica.objects.count(), callbacks) == (200, 0, [])
    (gpu,) = plan["effects"]["gpus"]
    assert (gpu["reserved_before_bytes"], gpu["reserved_after_bytes"]) == (0, 36 * GIB)
    assert any(line.startswith("GPU 0 of") for line in plan["effects"]["lines"])
    apply(operator, "deployments: {chat: {goal: ready}}")
    assert Replica.objects.count() == 2
    apply(operator, "deployments: {chat: {goal: stopped}}")
    fleet.refresh_from_db()
    assert fleet.goal == Goal.STOPPED


def test_a_new_deployment_is_placed_unless_it_says_otherwise(operator: Client, fleet: Deployment) -> None:
    apply(
        operator,
        "models: {m: {source: org/m}}\ndeployments:\n"
        "  one: {model: m, weights: 8GiB}\n  two: {model: m, weights: 8GiB, goal: stopped}\n",
    )
    assert {row.name: row.goal for row in Deployment.objects.filter(model__name="m")} == {
        "one": "ready",
        "two": "stopped",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("deployments:\n  chat:\n    model: nothing\n", 3, "there is no model 'nothing'"),
        ("deployments:\n  chat:\n    kv_floor: 40GiB\n", 2, "KV floor"),
        ("deployments:\n  chat:\n    extra_args: [--port, '1']\n", 3, "listen"),
        ("deployments:\n  chat:\n    goal: maybe\n", 3, "write ready or stopped"),
        ("deployments:\n  chat:\n    replicas: 65\n", 3, "64"),
        ("deployments:\n  big: {model: chat-weights, weights: 500GiB}\n", 2, "503 GiB are needed"),
        ("deployments:\n  -bad-: {model: chat-weights}\n", 2, "letters"),
        ("aliases:\n  chat: {targets: [{deployment: no}]}\n", 2, "a deployment answers to 'chat'"),
        ("aliases:\n  gpt: {targets: []}\n", 2, "may not be empty"),
        ("teams:\n  lab:\n    weight: 0\n", 3, "at least 1"),
        ("runtimes:\n  v: {kind: vllm-cuda, executable: vllm}\n", 2, "absolute path"),
        (
            "deployments:\n  chat:\n    environment:\n      API_KEY: {secret: ../x}\n",
            3,
            "cannot be the name of a secret",
        ),
        ("deployments:\n  chat:\n    environment:\n      API_KEY: {secret: gone}\n", 3, "has no secret 'gone'"),
    ],
)
def test_what_a_row_refuses_is_told_with_its_line_and_nothing_is_changed(
    operator: Client, fleet: Deployment, text: str, line: int, words: str
) -> None:
    document = f"{text}models:\n  fresh: {{source: org/fresh}}\n"
    for verb in ("plan", "apply"):
        status, body = send(operator, verb, document)
        assert (status, body["code"]) == (400, "configuration_invalid"), body
        assert [each["line"] for each in body["fields"]["problems"]] == [line]
        assert words in body["message"]
    assert not Model.objects.filter(name="fresh").exists()


def test_only_causes_are_told_not_what_follows_from_them(operator: Client, fleet: Deployment) -> None:
    text = "models:\n  m: {source: ../../etc}\ndeployments:\n  a: {model: m}\n  b: {model: m}\n"
    problems = send(operator, "plan", text)[1]["fields"]["problems"]
    assert [each["line"] for each in problems] == [2]


def test_edits_of_two_people_are_joined_and_the_same_field_is_refused(
    operator: Client, other: Client, fleet: Deployment
) -> None:
    mine, theirs = export(operator), export(other)
    apply(other, theirs.replace("priority: 0", "priority: 5", 1))
    pinned = mine.replace("pinned: false", "pinned: true", 1)
    joined = apply(operator, pinned)
    assert joined["changes"][0]["fields"] == ["pinned"]
    fleet.refresh_from_db()
    assert (fleet.priority, fleet.pinned) == (5, True)
    assert "deployment chat: priority: bob (version 2) changed it since, 0 -> 5; it stays so" in joined["notes"]
    status, body = send(operator, "apply", pinned.replace("priority: 0", "priority: 9", 1))
    assert (status, body["code"]) == (409, "configuration_conflict")
    assert "deployment chat: priority: bob (version 2) changed it since, 0 -> 5" in body["message"]
    fleet.refresh_from_db()
    assert fleet.priority == 5


def test_an_edit_on_the_page_is_no_less_another_persons_edit(
    operator: Client, other: Client, fleet: Deployment
) -> None:
    mine = export(operator)
    other.patch(f"/api/deployments/{fleet.pk}", {"priority": 4}, content_type="application/json")
    status, body = send(operator, "plan", mine.replace("priority: 0", "priority: 9", 1))
    assert (status, body["code"]) == (409, "configuration_conflict")
    assert "priority: bob (at " in body["message"]
    assert ConfigurationVersion.objects.first().author == "bob"  # type: ignore[union-attr]


def test_without_a_base_the_file_wins_and_a_plan_that_moved_is_refused(
    operator: Client, other: Client, fleet: Deployment
) -> None:
    text = "deployments: {chat: {priority: 9}}"
    plan = send(operator, "plan", text)[1]["plan"]
    other.patch(f"/api/deployments/{fleet.pk}", {"priority": 4}, content_type="application/json")
    status, body = send(operator, "apply", text, plan=plan)
    assert (status, body["code"]) == (409, "configuration_moved")
    apply(operator, text)
    fleet.refresh_from_db()
    assert fleet.priority == 9


@pytest.mark.parametrize("base", ["99", "x", "1-ffffffff-"])
def test_a_base_that_is_none_is_refused_or_said(operator: Client, fleet: Deployment, base: str) -> None:
    status, body = send(operator, "plan", "teams: {}", base=base)
    assert (status, body.get("code")) == (404, "no_such_version") if "-" not in base else status == 200


def test_prune_deletes_what_a_section_does_not_name(operator: Client, fleet: Deployment) -> None:
    assert apply(operator, "teams: {}")["changes"] == []
    answer = apply(operator, "teams: {}\naliases: {}\ndeployments: {chat: {}}", prune=True)
    assert [each["title"] for each in answer["changes"]] == [
        "team lab is deleted",
        "alias gpt-4 is deleted",
        "deployment no is deleted",
    ]
    assert (Team.objects.count(), Alias.objects.count(), Model.objects.count()) == (0, 0, 2)
    assert [row.name for row in Deployment.objects.all()] == ["chat"]


def test_prune_of_what_is_used_is_refused_and_what_still_ends_is_said(operator: Client, fleet: Deployment) -> None:
    status, body = send(operator, "apply", "models: {}", prune=True)
    assert (status, [each["code"] for each in body["fields"]["problems"]]) == (400, ["in_use", "in_use"])
    factories.replica(State.READY, deployment=fleet)
    answer = apply(operator, "models: {}\ndeployments: {}", prune=True)
    assert answer["notes"] == [
        "deployment chat: it goes with its last engine",
        "model chat-weights: it stays until chat has ended; apply again then",
    ]
    assert [row.deleting for row in Deployment.objects.all()] == [True]
    assert send(operator, "apply", "deployments: {chat: {model: chat-weights}}")[1]["fields"]["problems"][0][
        "code"
    ] == ("deployment_deleting")


def test_a_secret_is_taken_from_its_file_and_shown_nowhere(
    operator: Client, fleet: Deployment, secret: Callable[[str, str], None]
) -> None:
    secret("hf", "hf_new\n")
    text = "deployments: {chat: {environment: {HF_TOKEN: {secret: hf}}}}"
    plan = send(operator, "plan", text)[1]
    assert plan["changes"][0]["sentences"] == [
        "environment: HF_TOKEN: secret chat.HF_TOKEN -> secret hf",
        "environment: WANDB_MODE: off -> none",
    ]
    answer = apply(operator, text)
    fleet.refresh_from_db()
    assert fleet.environment == {"HF_TOKEN": "hf_new"}
    assert apply(operator, text)["changes"] == []
    assert "HF_TOKEN: {secret: hf}" in export(operator)
    secret("hf", "hf_newer")
    plan = send(operator, "plan", text)[1]
    assert plan["changes"][0]["sentences"] == ["environment: HF_TOKEN: another value of secret hf"]
    shown = f"{plan}{answer}{operator.get('/api/configuration/versions').json()}{ConfigurationVersion.objects.values()}"
    assert "hf_ne" not in shown
    assert "hf_old" not in shown


def test_a_secret_without_a_file_stays_as_it_is(operator: Client, fleet: Deployment) -> None:
    document = export(operator).replace("pinned: false", "pinned: true", 1)
    apply(operator, document)
    fleet.refresh_from_db()
    assert fleet.environment["HF_TOKEN"] == "hf_old"


def test_rollback_brings_back_what_was_and_removes_what_was_made_since(operator: Client, fleet: Deployment) -> None:
    export(operator)
    was = body_of(export(operator))
    apply(operator, "deployments: {chat: {priority: 9}}\nteams: {lab: {weight: 7}, new: {weight: 1}}")
    assert body_of(export(operator)) != was
    answer = operator.post("/api/configuration/versions/1/rollback", {"dry_run": True}, content_type="application/json")
    plan = answer.json()
    assert [each["title"] for each in plan["changes"]] == [
        "deployment chat is changed",
        "team lab is changed",
        "team new is deleted",
    ]
    assert body_of(export(operator)) != was
    answer = operator.post(
        "/api/configuration/versions/1/rollback", {"plan": plan["plan"]}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["version"]) == (200, 3)
    assert body_of(export(operator)) == was
    answer = operator.post("/api/configuration/versions/77/rollback", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_version")


def test_versions_tell_who_when_and_what(operator: Client, fleet: Deployment) -> None:
    export(operator)
    apply(operator, "deployments: {chat: {priority: 9}}")
    newest = operator.get("/api/configuration/versions").json()["results"][0]
    assert (newest["number"], newest["author"], newest["applied"], newest["base"]) == (2, "olive", True, 1)
    assert newest["diff"].splitlines() == ["@@ deployments: chat @@", "-    priority: 0", "+    priority: 9"]
    assert "priority: 9" in operator.get("/api/configuration/versions/2").json()["document"]
    assert operator.get("/api/configuration/versions/7").json()["code"] == "no_such_version"


def test_only_so_many_versions_are_kept(operator: Client, fleet: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sardeenz.configuration.versions.KEPT", 2)
    for priority in range(4):
        apply(operator, f"deployments: {{chat: {{priority: {priority + 1}}}}}")
    assert list(ConfigurationVersion.objects.values_list("number", flat=True)) == [5, 4]


def test_who_may_look_may_export_and_nothing_else(client: Client, fleet: Deployment) -> None:
    client.force_login(factories.user("vera"))
    assert "chat:" in export(client)
    assert client.get("/api/configuration/versions").status_code == 200
    for verb in ("plan", "apply"):
        assert send(client, verb, "teams: {}")[0] == 403
    assert client.post("/api/configuration/versions/1/rollback").status_code == 403
    client.logout()
    assert client.get("/api/configuration").status_code in (401, 403)


def test_a_folder_is_named_as_it_lies_in_the_models_directory(operator: Client, fleet: Deployment) -> None:
    root = Path(settings.MODELS_DIR).resolve()
    Model.objects.filter(name="chat-weights").update(source=str(root / "org" / "chat"))
    assert "source: org/chat" in export(operator)
    assert GPU.objects.count() == 1
