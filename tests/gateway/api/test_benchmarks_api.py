"""Benchmarks over REST: what may be asked, what is refused and in which words, and what is shown."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from gateway.benchmark import book
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Slo
from gateway.models import ApiKey, BenchmarkRun
from gpus import processes
from models_app.models import Deployment
from sardeenz.celery import app
from tests import factories
from tests.gateway.benchmark.test_answer import event, streamed, usage

pytestmark = pytest.mark.django_db
STREAM: dict[str, Any] = {"deployment": "chat"}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.user("staff", is_staff=True, is_superuser=True))
    return client


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, str]]:
    """What was put into a queue; no worker reads it here."""
    found: list[tuple[str, Any, str]] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, queue, **_: found.append((name, args, queue)))
    return found


@pytest.fixture(autouse=True)
def chat() -> Deployment:
    deployment = factories.deployment(name="chat", max_model_len=1000)
    factories.replica(deployment=deployment, gpu=factories.gpu())
    return deployment


def ask(client: Client, body: dict[str, Any], status: int = 201) -> Any:
    answer = client.post("/api/benchmarks", body, content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json()


def asking(**more: Any) -> dict[str, Any]:
    return {"streams": [STREAM], "seconds": 5} | more


def finished(run: int) -> None:
    ledger = Ledger(Slo())
    ledger.note(streamed((11.0, event(1, content="a")), (11.5, event(2, content="b") + usage(2)), ends=11.5))
    stream = {"deployment": "chat", "role": "load", "figures": ledger.figures()}
    book.end(run, "done", timezone.now(), result={"streams": [stream]})


def test_what_is_asked_is_kept_and_begun(staff: Client, sent: list[Any]) -> None:
    row = ask(staff, asking(streams=[STREAM | {"arrival": {"pattern": "poisson", "rate": 4}}]))
    assert (row["status"], row["deployments"], row["metered"], row["actor"]) == ("queued", ["chat"], False, "staff")
    assert row["plan"]["streams"][0]["arrival"]["rate"] == 4
    assert len(row["gpus"]) == 1
    assert sent == [(book.RUN, [row["id"]], "benchmarks")]


def test_a_trace_becomes_a_stream_for_each_model(staff: Client) -> None:
    factories.deployment(name="coder", served_name="org/coder")
    trace = "offset_ms,model,prompt_tokens,max_tokens\n0,chat,5,6\n10,org/coder,7,8\n20,chat,5,6\n"
    row = ask(staff, {"trace": trace, "speed": 2})
    told = [(each["deployment"], each["arrival"]["trace_calls"]) for each in row["plan"]["streams"]]
    assert told == [("chat", 2), ("coder", 1)]
    kept = BenchmarkRun.objects.get(pk=row["id"]).plan["streams"][0]["arrival"]
    assert (kept["speed"], kept["trace"][1]) == (2.0, {"at": 0.02, "prompt_tokens": 5, "output_tokens": 6})


HEAD = "offset_ms,model,prompt_tokens,max_tokens\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"seconds": 5}, "say what to measure"),
        ({"streams": [STREAM]}, "say when it ends"),
        (asking(streams=[{"deployment": "nobody"}]), "there is no deployment 'nobody'; there is chat"),
        ({"trace": f"{HEAD}0,ghost,1,1\n"}, "there is no deployment 'ghost'; there is chat"),
        ({"trace": f"{HEAD}-1,chat,1,1\n"}, "negative offset -1 ms"),
        ({"trace": HEAD}, "a header and no call"),
        (asking(streams=[STREAM | {"slo": {"ttft_seconds": 2, "e2e_seconds": 1}}]), "this SLO cannot be met"),
        (asking(streams=[STREAM | {"prompt": {"tokens": 990}}]), "chat takes 1000 tokens in all"),
        (asking(streams=[STREAM | {"prompt": {"shape": "uniform"}}]), "uniform lengths need `low` and `high`"),
        (asking(streams=[STREAM | {"prompts": "\n"}]), "there is no prompt in the file"),
        (asking(probes=[{"deployment": "ghost"}]), "there is no deployment 'ghost'"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(staff: Client, body: dict[str, Any], words: str) -> None:
    assert words in str(ask(staff, body, 400))
    assert not BenchmarkRun.objects.exists()


def test_a_search_and_a_drill_are_kept_with_what_they_ask(staff: Client) -> None:
    slo = STREAM | {"slo": {"ttft_seconds": 1}}
    search = ask(staff, {"streams": [slo], "search": {"over": "concurrency", "high": 8}})
    assert (search["kind"], search["options"]["high"], search["options"]["ratio"]) == ("search", 8.0, 0.95)
    staff.post(f"/api/benchmarks/{search['id']}/cancel")
    drill = ask(staff, {"streams": [STREAM], "drill": {"level": 2}})
    assert (drill["kind"], drill["options"]["level"], drill["options"]["cycles"]) == ("drill", 2, 10)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"streams": [STREAM], "search": {}}, "the first of them with an `slo`"),
        ({"streams": [STREAM], "search": {"low": 9, "high": 2}}, "`low` is 9 and `high` only 2"),
        ({"streams": [STREAM | {"way": "engine"}], "drill": {}}, "only calls there wake"),
        ({"streams": [STREAM, STREAM], "drill": {}}, "this drill needs one stream"),
        ({"trace": f"{HEAD}0,chat,1,1\n", "drill": {}}, "this drill needs one stream"),
        ({"streams": [STREAM], "drill": {"kind": "elastic"}}, "it needs two streams or more"),
        ({"streams": [STREAM], "drill": {"kind": "storm"}}, "it needs two streams or more"),
        ({"streams": [STREAM | {"way": "engine"}], "drill": {"kind": "cost"}}, "through the gateway"),
    ],
)
def test_searches_and_drills_that_cannot_be_are_refused(staff: Client, body: dict[str, Any], words: str) -> None:
    assert words in str(ask(staff, body, 400))


def test_a_second_one_on_the_same_gpu_is_refused_unless_asked(staff: Client, chat: Deployment) -> None:
    first = ask(staff, asking())
    neighbour = factories.deployment(name="neighbour")
    factories.replica(deployment=neighbour, gpu=chat.placed.get().gpu)
    other = asking(streams=[{"deployment": "neighbour"}])
    refused = ask(staff, other, 409)
    assert (refused["code"], refused["fields"]) == ("benchmark_running", {"benchmarks": [first["id"]]})
    ask(staff, other | {"beside": True})
    elsewhere = factories.deployment(name="elsewhere")
    factories.replica(deployment=elsewhere, gpu=factories.gpu())
    ask(staff, asking(streams=[{"deployment": "elsewhere"}]))


def test_reading_needs_a_sign_in_and_asking_a_right(client: Client) -> None:
    assert client.get("/api/benchmarks").status_code in (401, 403)
    client.force_login(factories.user("reader"))
    assert client.get("/api/benchmarks").status_code == 200
    assert client.post("/api/benchmarks", asking(), content_type="application/json").status_code == 403


def test_one_that_has_not_begun_is_cancelled_at_once(staff: Client) -> None:
    number = ask(staff, asking())["id"]
    answer = staff.post(f"/api/benchmarks/{number}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    again = staff.post(f"/api/benchmarks/{number}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "benchmark_ended")


def test_a_running_one_is_told_to_end(staff: Client) -> None:
    number = ask(staff, asking())["id"]
    BenchmarkRun.objects.update(status="running")
    row = staff.post(f"/api/benchmarks/{number}/cancel").json()
    assert (row["status"], row["cancel_wanted"]) == ("running", True)
    assert staff.delete(f"/api/benchmarks/{number}").status_code == 409


def test_a_result_is_shown_and_taken_away_as_csv(staff: Client) -> None:
    number = ask(staff, asking())["id"]
    assert staff.get(f"/api/benchmarks/{number}/verdict").json()["code"] == "no_result"
    finished(number)
    detail = staff.get(f"/api/benchmarks/{number}").json()
    assert detail["result"]["streams"][0]["figures"]["ok"] == 1
    assert "result" not in staff.get("/api/benchmarks").json()["results"][0]
    answer = staff.get(f"/api/benchmarks/{number}", {"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [(row["deployment"], float(row["ttft_p50_seconds"])) for row in rows] == [("chat", pytest.approx(1.0))]
    assert staff.delete(f"/api/benchmarks/{number}").status_code == 204


def test_conditions_are_judged(staff: Client) -> None:
    number = ask(staff, asking())["id"]
    finished(number)
    path = f"/api/benchmarks/{number}/verdict"
    held = staff.get(path, {"condition": ["ttft_p95>0.5", "failed_ratio>0"]}).json()
    assert held == {"holds": True, "lines": ["chat: ttft_p95 is 1, so ttft_p95>0.5 holds"]}
    assert staff.get(path, {"condition": "ttft_p95>1.5"}).json()["holds"] is False
    refused = staff.get(path, {"condition": "speed>1"})
    assert (refused.status_code, "'speed' is no figure" in refused.json()["message"]) == (400, True)


def test_one_whose_runner_is_gone_has_failed_and_its_key_with_it(staff: Client) -> None:
    now = timezone.now()
    run = BenchmarkRun.objects.get(pk=ask(staff, asking())["id"])
    BenchmarkRun.objects.update(status="running", runner=processes.identity(), heard_at=now)
    book.make_key(run, 60, now)
    book.bury(now)
    assert BenchmarkRun.objects.get().status == "running"
    book.bury(now + timedelta(seconds=60))
    run.refresh_from_db()
    assert (run.status, run.code) == ("failed", "runner_lost")
    assert not ApiKey.objects.filter(name__startswith="benchmark").exists()


def test_one_that_nobody_begins_has_failed(staff: Client) -> None:
    ask(staff, asking())
    book.bury(timezone.now() + timedelta(seconds=30))
    assert BenchmarkRun.objects.get().status == "queued"
    book.bury(timezone.now() + timedelta(seconds=90))
    assert BenchmarkRun.objects.get().code == "runner_missing"


def test_the_key_of_one_that_counts_as_usage_is_revoked_and_stays(staff: Client) -> None:
    run = BenchmarkRun.objects.get(pk=ask(staff, asking(metered=True))["id"])
    book.make_key(run, 60, timezone.now())
    book.forget_key(run.pk)
    key = ApiKey.objects.get(name=f"benchmark {run.pk}")
    assert (key.usable, key.metered, key.keeps_awake) == (False, True, False)
