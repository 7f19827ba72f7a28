"""Status, deploy and the verbs of the command line against the real API over HTTP."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from gpus import telemetry
from models_app.models import Deployment, Model, Replica
from models_app.states import State
from sardeenz.cli import completion, status
from sardeenz.cli.main import app
from tests import factories
from tests.models_app.policy.test_demand import say

pytestmark = pytest.mark.django_db(transaction=True)
GIB = factories.GIB


@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage")[1])

    def invoke(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, done.output
        return str(done.output)

    return invoke


def publish(replica: Replica, ledger: dict[str, Any] | None = None, **gauges: Any) -> None:
    """One frame in which the replica's engine lives."""
    uuid = replica.gpu.uuid
    ledgers = {} if ledger is None else {uuid: ledger}
    device = {"uuid": uuid, "memory_used_bytes": 30 * GIB, "utilization_ratio": 0.42, "processes": []}
    engine = {"marker": replica.marker, "memory_bytes": {uuid: 28 * GIB}, "kv_usage_ratio": 0.5}
    segment = {"ipc_name": replica.ipc_name, "limit_bytes": 20 * GIB, "used_bytes": 5 * GIB, "prealloc_bytes": 0}
    now = datetime.now(UTC)
    frame: Any = {"seq": int(now.timestamp() * 1000), "at": now.isoformat(), "node": replica.gpu.node.name}
    frame |= {"gpus": [device], "segments": [segment], "engines": [engine | gauges], "ledgers": ledgers}
    telemetry.publish(frame)


def line_of(output: str, begin: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.split()[:1] == [begin])


def test_status_shows_what_is_used_and_done_now(run: Any) -> None:
    replica = factories.replica()
    publish(replica, running=3, waiting=2, tokens_per_second=1234.4)
    shown = run("status")
    row = line_of(shown, str(replica))
    assert " ".join(row).endswith("0 ready ready 28 GiB 18 GiB 5 GiB of 20 GiB 3 2 1,234"), row
    gpu = " ".join(line_of(shown, replica.gpu.node.name))
    assert "30 GiB 18 GiB 80 GiB 42%" in gpu, gpu


def below_gpu(run: Any, replica: Replica, ledger: dict[str, Any] | None) -> list[str]:
    """The lines of `status` between its GPU and the replicas, as words."""
    publish(replica, ledger)
    lines = [" ".join(line.split()) for line in run("status").splitlines()]
    (at,) = (number for number, line in enumerate(lines) if replica.gpu.uuid in line)
    return lines[at + 1 : lines.index("", at)]


def test_status_names_what_no_replica_owns_below_its_gpu(run: Any) -> None:
    replica = factories.replica()
    ledger = {
        "total_bytes": 80 * GIB,
        "unexplained_bytes": -2 * GIB,
        "orphans": [{"pid": 7, "name": "vllm", "memory_bytes": 3 * GIB}],
        "foreign": [{"pid": 8, "name": "", "memory_bytes": 12 * GIB}, {"pid": 9, "name": "top", "memory_bytes": None}],
    }
    assert below_gpu(run, replica, ledger) == [
        "orphan: vllm (pid 7) 3 GiB",
        "foreign: name hidden (pid 8) 12 GiB",
        "foreign: top (pid 9) -",
        "unexplained: processes hold more by 2 GiB",
    ]
    clean = {"total_bytes": 80 * GIB, "unexplained_bytes": GIB // 2, "orphans": [], "foreign": []}
    assert below_gpu(run, replica, clean) == []
    assert below_gpu(run, replica, None) == ["the driver tells no processes"]


def test_status_says_who_waits_since_when_and_for_what() -> None:
    waiting = {"count": 2, "since": "2030-01-31T12:00:05Z", "expected_at": "2030-01-31T12:00:40Z", "reason": "room"}
    (line,) = status._waiting([{"name": "chat", "waiting": waiting}, {"name": "code", "waiting": None}])
    at = [datetime(2030, 1, 31, 12, 0, second, tzinfo=UTC).astimezone() for second in (5, 40)]
    since, ready = (f"{moment:%H:%M:%S %Z}" for moment in at)
    said = f"chat: 2 calls wait since {since} until there is room on its GPU; expected ready at {ready}"
    assert said in line


def test_without_readings_the_rows_are_shown_all_the_same(run: Any) -> None:
    replica = factories.replica()
    row = line_of(run("status"), str(replica))
    assert row[5:10] == ["-", "18", "GiB", "-", "-"]


def test_watch_shows_it_anew(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.replica()
    rounds = iter((None, KeyboardInterrupt()))

    def nap(_: float) -> None:
        if stop := next(rounds):
            raise stop

    monkeypatch.setattr(time, "sleep", nap)
    assert run("status", "--watch").count("uuid") == 2


def test_every_gpu_is_named_as_verbs_take_it(run: Any) -> None:
    source, target = factories.gpu(), factories.gpu()
    replica = factories.replica(gpu=source)
    run("move", str(replica), "1")
    assert replica.replacements.get().gpu == target


def test_deploy_says_every_field_of_the_form(run: Any) -> None:
    factories.gpu()
    factories.runtime()
    words = ["--model", "org/tiny", "--revision", "v1", "--weights", "2GiB", "--overhead", "1GiB", "--kv-floor", "1GiB"]
    words += ["--kv-cap", "4GiB", "--no-sleep", "--idle-sleep", "600", "--priority", "2", "--pinned", "--replicas", "1"]
    words += [
        "--max-concurrency",
        "8",
        "--queue-limit",
        "9",
        "--queue-seconds",
        "0",
        "--prefix-affinity",
        "--ignore-known-problems",
    ]
    words += ["--arg=--seed", "--arg=1", "--env", "A=b=c", "--max-model-len", "4096", "--served-name", "small"]
    assert "1 of 1 replicas placed" in run("deploy", "tiny", *words)
    made = Deployment.objects.get()
    assert (made.weights_bytes, made.overhead_bytes, made.kv_floor_bytes, made.kv_cap_bytes) == (
        2 * GIB,
        GIB,
        GIB,
        4 * GIB,
    )
    assert (made.model.source, made.model.revision, made.served_name) == ("org/tiny", "v1", "small")
    assert (made.sleep_enabled, made.pinned, made.priority, made.idle_sleep_seconds) == (False, True, 2, 600)
    assert (made.max_concurrency, made.queue_limit, made.queue_seconds, made.prefix_affinity) == (8, 9, 0, True)
    assert made.ignore_known_problems
    assert (made.extra_args, made.environment, made.max_model_len) == (["--seed", "1"], {"A": "b=c"}, 4096)
    run("deploy", "tiny", "--kv-cap", "none", "--queue-seconds", "none", "--max-model-len", "none")
    made.refresh_from_db()
    assert (made.kv_cap_bytes, made.queue_seconds, made.max_model_len) == (None, None, None)


def test_a_refused_deploy_leaves_neither_model_nor_deployment(run: Any) -> None:
    factories.gpu()
    factories.runtime()
    run("deploy", "huge", "--model", "org/huge", "--weights", "900GiB", code=1)
    assert not Model.objects.exists()
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("wrong", [("--weights", "much"), ("--max-concurrency", "x"), ("--queue-seconds", "soon")])
def test_what_cannot_be_read_names_its_option(run: Any, wrong: tuple[str, str]) -> None:
    assert wrong[0] in run("deploy", "x", "--model", "org/x", *wrong, code=2)


def test_models_are_removed_once_nobody_serves_them(run: Any) -> None:
    used, free = factories.deployment().model, factories.model()
    run("models", "rm", free.name)
    assert used.name in run("models", "rm", used.name, code=1)
    assert list(Model.objects.all()) == [used]
    assert "there is no model" in run("models", "rm", "nobody", code=1)


def test_wait_returns_when_it_is_there(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = factories.replica()
    monkeypatch.setattr(time, "sleep", lambda _: become(replica, State.SLEEPING))
    shown = run("sleep", replica.deployment.name, "--wait")
    assert "is ready, then sleeps" in shown
    assert shown.splitlines()[-1].endswith("is sleeping")


def become(replica: Replica, state: State, **fields: Any) -> None:
    """As its worker writes it."""
    Replica.objects.filter(pk=replica.pk).update(state=state, **fields)


def test_wait_ends_with_a_failure_that_stays(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = factories.replica(State.SLEEPING)
    broken = {"message": "no such file", "restart_at": None}
    monkeypatch.setattr(time, "sleep", lambda _: become(replica, State.FAILED, **broken))
    shown = run("wake", str(replica), "--wait", code=1)
    assert "no such file" in shown
    assert "stays failed" in shown


def test_wait_gives_up_and_says_that_it_goes_on(run: Any) -> None:
    replica = factories.replica()
    assert "it goes on" in run("sleep", str(replica), "--wait", "--timeout", "0", code=1)


def test_history_names_replicas_that_are_gone_and_times_have_a_zone(run: Any) -> None:
    replica = factories.replica()
    name = f"{replica.deployment.name}/{replica.pk}"
    run("stop", str(replica))
    replica.delete()
    row = line_of(run("history"), datetime.now().astimezone().strftime("%Y-%m-%d"))
    assert row[2:4] == [datetime.now().astimezone().tzname(), name]


def test_the_shell_is_offered_names_there_are(run: Any) -> None:
    factories.gpu()
    replica = factories.replica()
    name = replica.deployment.name
    assert completion.deployments(name[:4]) == [name]
    assert completion.replicas(f"{name}/") == [str(replica)]
    assert completion.gpus("") == ["0"]
    assert completion.models("zzz") == []


def test_the_shell_is_offered_nothing_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARDEENZ_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SARDEENZ_TOKEN", "x")
    assert completion.deployments("") == []


def test_a_full_gpu_is_cleared_when_told_so(run: Any) -> None:
    idle = factories.replica(
        deployment=factories.deployment(weights_bytes=60 * GIB), state_at=datetime.now(UTC) - timedelta(seconds=60)
    )
    wanted = factories.replica(State.SLEEPING, deployment=factories.deployment(weights_bytes=60 * GIB))
    say()
    shown = run("wake", f"{wanted.deployment.name}/{wanted.pk}", code=1)
    assert f"{idle.deployment.name}/{idle.pk} sleeps at level 1, frees 61 GiB, not measured yet: idle for" in shown
    assert "wakes once" in run("wake", f"{wanted.deployment.name}/{wanted.pk}", "--evict")
    idle.refresh_from_db()
    assert idle.goal == "sleeping"
    words = ("--model", "sample/more", "--weights", "60GiB", "--runtime", "simulator")
    assert "sardeenz deploy more --evict" in run("deploy", "more", *words)
    assert "1 of 1 replicas placed" in run("deploy", "more", "--evict")


def test_engines_that_no_replica_owns_are_listed_and_ended(run: Any) -> None:
    home = factories.gpu()
    assert run("orphans", "list").strip() == "every engine has its replica"
    orphan = {"marker": "12:1", "pid": 7, "name": "vllm", "settings": "", "gpu_uuids": [home.uuid], "port": 20001}
    orphan |= {"asleep": False, "memory_bytes": {home.uuid: 3 * GIB}}
    now = datetime.now(UTC)
    frame: Any = {"seq": int(now.timestamp() * 1000), "at": now.isoformat(), "node": home.node.name, "gpus": []}
    telemetry.publish(frame | {"segments": [], "engines": [], "ledgers": {}, "orphans": [orphan]})
    shown = " ".join(line_of(run("orphans", "list"), "12:1"))
    why = "the engine 12:1 cannot be adopted: it does not tell what it was launched with"
    assert shown == f"12:1 {home.node.name} vllm (pid 7) 3 GiB {why}"
    assert why in run("orphans", "adopt", "12:1", code=1)
    assert "is ended at its worker's next look" in run("orphans", "end", "12:1")
    assert "there is no engine 13:1 without an owner" in run("orphans", "end", "13:1", code=1)
