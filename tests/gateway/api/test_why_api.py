"""Why, over REST and from the command line: deployments, replicas and calls, by the names that people know."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from typer.testing import CliRunner

from gateway.models import UsageRecord
from models_app.lifecycle import verbs
from models_app.models import Replica, Transition
from models_app.states import State
from sardeenz.cli.main import app
from tests import factories

pytestmark = pytest.mark.django_db
ENDED = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(factories.user("viewer"))
    return client


@pytest.fixture
def chat() -> Replica:
    """A replica with a history."""
    replica = factories.replica(State.READY, deployment=factories.deployment(name="chat", goal="ready"))
    verbs.sleep(replica, actor="ada")
    return replica


def ask(client: Client, of: str, status: int = 200, **params: Any) -> Any:
    answer = client.get("/api/why", {"of": of, **params})
    assert answer.status_code == status, answer.content
    return answer.json()


def call(**fields: Any) -> UsageRecord:
    given = {"served_name": "chat", "path": "/v1/completions", "status": 200, "outcome": "ok", "stream": False}
    given |= {"e2e_seconds": 6.0, "at": ENDED, "request_id": "r-1", "queue_seconds": 5.4}
    step = {"what": "seat", "after_seconds": 0.0, "seconds": 5.4, "deployment": "chat", "ahead": 2, "seats": 8}
    return UsageRecord.objects.create(**(given | {"trail": [step]} | fields))


def test_a_viewer_may_ask_about_a_deployment(viewer: Client, chat: Replica) -> None:
    answer = ask(viewer, "chat")
    assert (answer["kind"], answer["name"], answer["call"], answer["parts"]) == ("deployment", "chat", None, [])
    assert f"chat/{chat.pk} is ready since " in answer["sentence"]
    [entry] = answer["entries"]
    assert (entry["kind"], entry["code"], entry["by"], entry["inputs"]) == ("history", "sleep", "ada", None)
    assert entry["sentence"] == f"chat/{chat.pk} is to sleep"


def test_nobody_else_may(client: Client, chat: Replica) -> None:
    assert client.get("/api/why", {"of": "chat"}).status_code in (401, 403)


def test_a_replica_is_known_by_its_number_and_by_both_names(viewer: Client, chat: Replica) -> None:
    assert ask(viewer, str(chat.pk)) == ask(viewer, f"chat/{chat.pk}")
    assert ask(viewer, str(chat.pk))["name"] == f"chat/{chat.pk}"
    assert ask(viewer, f"code/{chat.pk}", 404)["code"] == "nothing_known"


def test_inputs_come_where_they_are_asked_for(viewer: Client, chat: Replica) -> None:
    Transition.objects.update(fields={"verdict": "evict", "concerns": []})
    [entry] = ask(viewer, "chat", inputs="true")["entries"]
    assert entry["inputs"] == {"verdict": "evict", "concerns": []}


def test_a_call_is_known_by_the_id_of_its_answer(viewer: Client, chat: Replica) -> None:
    record = call()
    answer = ask(viewer, "r-1")
    assert (answer["kind"], answer["name"], answer["call"]["id"]) == ("call", "r-1", record.pk)
    queue = "5.4 s in the queue of `chat` for a seat: all 8 were taken, 2 calls before it"
    assert answer["sentence"] == f"Waited 5.4 s: {queue}. The call was answered after 6.0 s."
    assert answer["parts"][0] == {"what": "seat", "seconds": 5.4, "sentence": queue}
    assert answer["entries"] == []


def test_a_name_that_is_several_things_can_be_told_apart(viewer: Client, chat: Replica) -> None:
    call(request_id="chat")
    call(request_id=str(chat.pk))
    assert ask(viewer, "chat")["kind"] == "deployment"
    assert ask(viewer, "chat", kind="call")["kind"] == "call"
    assert ask(viewer, str(chat.pk))["kind"] == "replica"
    assert ask(viewer, str(chat.pk), kind="call")["kind"] == "call"


def test_what_nothing_is_known_of_is_told_so_with_what_a_calls_id_is(viewer: Client) -> None:
    answer = ask(viewer, "nobody", 404)
    assert answer["code"] == "nothing_known"
    assert "by the x-request-id of its answer" in answer["message"]
    assert ask(viewer, "nobody", 404, kind="replica")["message"] == "nothing is known of a replica `nobody`"
    assert ask(viewer, "", 400)["code"] == "invalid_spec"


def test_entries_are_as_many_as_asked_for(viewer: Client, chat: Replica) -> None:
    for number in range(5):
        row = Transition.objects.create(
            replica=chat, deployment_name="chat", generation=1, old="ready", new="ready", goal="ready", actor="x",
            reason=f"reason_{number}",
        )  # fmt: skip
        Transition.objects.filter(pk=row.pk).update(at=ENDED + timedelta(seconds=number))
    codes = [entry["code"] for entry in ask(viewer, "chat", limit=2)["entries"]]
    assert codes == ["reason_4", "reason_3"]


# --- the command line -------------------------------------------------------------------------------------------
@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read")[1])

    def invoke(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["why", *words])
        assert done.exit_code == code, done.output
        return str(done.output)

    return invoke


@pytest.mark.django_db(transaction=True)
def test_why_prints_the_answer_and_then_the_newest_reasons(run: Any, chat: Replica) -> None:
    shown = run("chat")
    assert f"chat/{chat.pk} is ready since " in shown.splitlines()[0]
    assert f"chat/{chat.pk} is to sleep" in shown.splitlines()[-1]
    assert json.loads(run("chat", "--json"))["kind"] == "deployment"


@pytest.mark.django_db(transaction=True)
def test_why_prints_inputs_where_they_are_asked_for(run: Any, chat: Replica) -> None:
    Transition.objects.update(fields={"needed_bytes": 7 * 2**30})
    assert "needed: 7 GiB" not in run("chat")
    assert "    needed: 7 GiB" in run("chat", "--inputs").splitlines()


@pytest.mark.django_db(transaction=True)
def test_why_tells_of_a_call_and_of_what_it_does_not_know(run: Any) -> None:
    call()
    assert "5.4 s in the queue of `chat`" in run("r-1")
    assert "(nothing_known)" in run("r-2", code=1)
    assert "(nothing_known)" in run("chat", "--call", code=1)
