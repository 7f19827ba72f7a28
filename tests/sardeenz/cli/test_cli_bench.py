"""Benchmarks on the command line, against the real API over HTTP; the runner is a function that writes a result."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from typer.testing import CliRunner

from gateway.benchmark import book
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.plan import Slo
from gateway.benchmark.load.sample import Sample
from gateway.benchmark.load.searching import Bounds, Search
from gateway.models import BenchmarkRun
from models_app.models import Deployment
from sardeenz import celery
from sardeenz.cli.main import app
from tests import factories
from tests.gateway.benchmark.test_answer import event, streamed, usage

pytestmark = pytest.mark.django_db(transaction=True)


def result(last: float, *, broken: bool = False) -> dict[str, Any]:
    ledger = Ledger(Slo())
    ledger.note(streamed((11.0, event(1, content="a")), (last, event(2, content="b") + usage(2)), ends=last))
    if broken:
        answer = streamed((11.0, event(1, content="a")))
        answer.fail("connection_lost", 11.1)
        ledger.note(answer)
    stream = {"deployment": "chat", "role": "load", "way": "gateway", "pattern": "poisson", "figures": ledger.figures()}
    health = {"send_lag_p99_seconds": 0.0, "cpu_ratio": 0.1, "degraded": ["it was late"] if broken else []}
    return {"seed": 5, "streams": [stream], "runner": health, "moments": []}


class Runner:
    """What becomes of each benchmark that is begun."""

    def __init__(self) -> None:
        self.ends: list[dict[str, Any]] = []

    def __call__(self, name: str, args: Sequence[int] = (), **_: Any) -> None:
        if name != book.RUN:
            return
        how = self.ends.pop(0) if self.ends else {"status": "done", "result": result(11.5)}
        book.end(args[0], how.pop("status"), timezone.now(), **how)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    found = Runner()
    monkeypatch.setattr(celery.app, "send_task", found)
    return found


@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch, runner: Runner) -> Any:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage")[1])
    factories.replica(deployment=factories.deployment(name="chat"), gpu=factories.gpu())

    def invoke(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ("bench", *words))
        assert done.exit_code == code, done.output
        return str(done.output)

    return invoke


def test_a_load_is_asked_for_as_it_was_typed(run: Any, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('"one"\n"two"\n')
    words = [
        "run",
        "chat",
        "--rate",
        "2",
        "--to-rate",
        "9",
        "--seconds",
        "20",
        "--prompt",
        "5-9",
        "--output",
        "~20:0.3",
    ]
    words += ["--probe", "chat=0.5", "--slo", "ttft=0.5,itl=0.1", "--way", "both", "--isolated", "--seed", "4"]
    said = run(*words, "--prompts", str(prompts), "--free-output", "--metered")
    assert "1 of 1 calls answered, 1.00 a second" not in said  # the window is 1.5 s, from the planned time
    assert "TTFT" in said
    row = BenchmarkRun.objects.get()
    first, second = row.plan["streams"]
    assert (first["way"], second["way"], row.plan["together"], row.plan["seed"], row.metered) == (
        "gateway", "engine", False, 4, True
    )  # fmt: skip
    arrival = first["arrival"]
    assert (arrival["pattern"], arrival["rate"], arrival["rate_end"], arrival["ramp_seconds"]) == ("ramp", 2, 9, 20)
    assert (first["prompt"]["shape"], first["prompt"]["low"], first["prompt"]["high"]) == ("uniform", 5, 9)
    assert (first["output"]["shape"], first["output"]["tokens"], first["output"]["sigma"]) == ("lognormal", 20, 0.3)
    assert (first["slo"]["ttft_seconds"], first["slo"]["itl_seconds"], first["exact_output"]) == (0.5, 0.1, False)
    assert (first["prompts"], row.plan["probes"]) == (["one", "two"], [{"deployment": "chat", "every_seconds": 0.5}])


def test_figures_are_shown_compared_and_taken_away(run: Any, runner: Runner) -> None:
    runner.ends = [{"status": "done", "result": result(11.5)}, {"status": "done", "result": result(12.0)}]
    said = run("run", "chat", "--concurrency", "1", "--name", "before")
    assert "before: done" in said
    assert "chat, poisson, through the gateway: 1 of 1 calls answered" in said
    assert [line.split() for line in said.splitlines() if line.startswith("whole answer")] == [
        ["whole", "answer", *["1.50", "s"] * 5]
    ]
    run("run", "chat", "--calls", "3")
    numbers = [str(row.pk) for row in BenchmarkRun.objects.order_by("pk")]
    assert "2000.00 (+33.3%)" in run("compare", *numbers)
    assert "before" in run("list")
    header, line = run("export", numbers[0]).splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True))["e2e_max_seconds"] == "1.5"
    assert json.loads(run("show", numbers[0], "--json"))["result"]["seed"] == 5
    run("compare", numbers[0], code=1)


def test_a_build_fails_by_its_conditions(run: Any) -> None:
    assert "chat: e2e_p95 is 1.5, so e2e_p95>1 holds" in run("run", "chat", "--fail-if", "e2e_p95>1", code=1)
    run("run", "chat", "--fail-if", "e2e_p95>2")
    number = str(BenchmarkRun.objects.latest("pk").pk)
    run("show", number, "--fail-if", "tpot_max>0.1", code=1)
    assert "is no figure" in run("show", number, "--fail-if", "swiftness>1", code=1)


def test_failed_calls_and_a_late_runner_are_told(run: Any, runner: Runner) -> None:
    runner.ends = [{"status": "done", "result": result(11.5, broken=True)}]
    said = run("run", "chat", "--fail-if", "failed_ratio>0.4", code=1)
    assert "1 ended as connection_lost" in said
    assert "Degraded: it was late" in said
    assert "never" in said


def test_one_that_failed_is_status_1_and_says_why(run: Any, runner: Runner) -> None:
    runner.ends = [{"status": "failed", "code": "runner_lost", "message": "the runner was killed"}]
    assert "failed (runner_lost): the runner was killed" in run("run", "chat", code=1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run"], "say which deployments to ask"),
        (["run", "nobody"], "there is no deployment 'nobody'; there is chat"),
        (["run", "chat", "--rate", "1", "--concurrency", "1"], "say either --concurrency"),
        (["run", "chat", "--pattern", "gamma"], "--pattern gamma needs --rate"),
        (["run", "chat", "--prompt", "many"], "--prompt: 'many' is no length"),
        (["run", "chat", "--slo", "speed=1"], "--slo: 'speed=1' is no SLO"),
        (["run", "chat", "--slo", "ttft=2,e2e=1"], "this SLO cannot be met"),
        (["run", "--trace", "/nowhere.csv"], "--trace: /nowhere.csv cannot be read: No such file or directory"),
        (["cancel", "99"], "not_found"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(run: Any, words: list[str], says: str) -> None:
    assert says in run(*words, code=1)


def test_a_search_is_shown_and_applied(run: Any, runner: Runner) -> None:
    search = Search(Bounds("concurrency"))
    for value, good in ((1.0, 99), (2.0, 98), (4.0, 50), (3.0, 97)):
        search.note(value, good, 100, value, 1.0)
    runner.ends = [{"status": "done", "result": result(11.5) | {"search": search.answer()}}]
    words = ["search", "chat", "--slo", "ttft=0.5", "--over", "concurrency", "--beside-load", "chat=2", "--trial", "5"]
    said = run(*words)
    assert "95% of the calls keep the SLO up to 3 callers at once, which is not certain" in said
    assert "with 95 % confidence 91.5% to 99.0%" in said
    row = BenchmarkRun.objects.get()
    assert (row.kind, row.options["over"], row.options["trial_seconds"]) == ("search", "concurrency", 5.0)
    assert row.plan["streams"][1]["arrival"]["rate"] == 2.0
    assert "chat answers 3 calls at once" in run("apply", str(row.pk))
    assert Deployment.objects.get().max_concurrency == 3


def test_a_search_without_an_slo_and_one_that_found_nothing_are_refused(run: Any) -> None:
    assert "--slo: '' is no SLO" in run("search", "chat", "--slo", "", code=1)
    run("run", "chat")
    number = str(BenchmarkRun.objects.get().pk)
    assert "found no limit to set" in run("apply", number, code=1)


def test_a_drill_is_asked_for_and_told(run: Any, runner: Runner) -> None:
    slept = Sample()
    slept.add(0.25)
    drill = {"level": 2, "cycles": 1, "sleep_seconds": slept.distribution()}
    runner.ends = [{"status": "done", "result": result(11.5) | {"drill": drill}}]
    said = run("wakes", "chat", "--level", "2", "--cycles", "1")
    assert "Asleep at level 2 1 times; falling asleep took p50 250.0 ms" in said
    row = BenchmarkRun.objects.get()
    asked = {name: row.options[name] for name in ("kind", "level", "cycles")}
    assert (row.kind, asked) == ("drill", {"kind": "wakes", "level": 2, "cycles": 1})


@pytest.mark.parametrize(
    ("words", "kind", "streams", "asked"),
    [
        (["cold-starts", "chat"], "cold_starts", 1, {"cycles": 3}),
        (["move", "chat", "--turn", "5"], "move", 1, {"cycles": 2, "turn_seconds": 5.0}),
        (["storm", "chat", "chat", "--rate", "3"], "storm", 2, {"cycles": 3}),
        (["elastic", "chat", "chat", "--kv", "8GiB"], "elastic", 2, {"kv_bytes": 8 * 2**30}),
        (["cost", "chat", "--cycles", "6"], "cost", 1, {"cycles": 6}),
    ],
)
def test_every_drill_is_one_command(
    run: Any, runner: Runner, words: list[str], kind: str, streams: int, asked: dict[str, Any]
) -> None:
    parts = [{"name": "all", "figures": result(11.5)["streams"][0]["figures"]}]
    drill = {"kind": kind, "cycles": 1, "parts": parts, "words": "It went well."}
    runner.ends = [{"status": "done", "result": result(11.5) | {"drill": drill}}]
    said = run("drill", *words)
    assert "It went well." in said
    assert [line.split()[:4] for line in said.splitlines() if line.startswith("all")] == [["all", "1", "of", "1"]]
    row = BenchmarkRun.objects.get()
    assert (row.kind, row.options["kind"], len(row.plan["streams"])) == ("drill", kind, streams)
    assert {name: row.options[name] for name in asked} == asked


def test_a_drill_that_cannot_be_is_refused_in_words(run: Any) -> None:
    assert "it needs two streams or more" in run("drill", "elastic", "chat", code=1)
    assert "--kv: 'much' is not a size" in run("drill", "elastic", "chat", "chat", "--kv", "much", code=1)
    assert "say which deployments to ask" in run("drill", "cost", code=1)
