"""Engines that live and serve nobody, and engines that we ended: real processes and a worker's loop, no gateway."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from gpus import processes
from gpus.installation import installation_id
from gpus.models import GPU
from models_app.engines import logs
from models_app.lifecycle import observe, resume, verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.models import EngineRuntime, Replica, Transition
from models_app.traffic import activity
from sardeenz import redis
from sardeenz.run import engines_left
from tests import factories
from tests.models_app.workers import fresh_workers, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.fixture
def worker() -> Iterator[Reconciler]:
    """The worker of an empty simulated GPU."""
    with fresh_workers(Reconciler) as workers:
        yield workers[0]


def state(replica: Replica) -> str:
    replica.refresh_from_db()
    return replica.state


def faulty(tmp_path: Path, **environment: str) -> Replica:
    """A replica of the faulty engine."""
    script = tmp_path / "vllm"
    source = Path(__file__).with_name("faulty_engine.py").read_text()
    script.write_text(f"#!{sys.executable}\n{source}")
    script.chmod(0o755)
    kind = EngineRuntime.Kind.VLLM_CPU
    runtime = factories.runtime(name="faulty", kind=kind, executable=str(script), kvcached=False)
    deployment = factories.deployment(runtime=runtime, environment=environment, sleep_enabled=False)
    return verbs.deploy(deployment, actor="test", gpu=GPU.objects.get(index=0))[0]


def engine(replica: Replica) -> processes.EngineProcess:
    return processes.find_all(installation_id())[replica.marker]


def failure() -> Transition:
    return Transition.objects.get(new="failed")


def test_a_server_that_is_gone_is_missed_though_its_child_lives_on(worker: Reconciler, tmp_path: Path) -> None:
    replica = faulty(tmp_path)
    until(worker, lambda: state(replica) == "ready", "it serves")
    first = engine(replica)
    assert len(first.pids) == 2
    os.kill(first.pid, signal.SIGKILL)
    until(worker, lambda: state(replica) == "failed", "its end is seen")
    assert failure().reason == "server_gone"
    assert "server process ended" in failure().message
    until(worker, lambda: state(replica) == "ready", "it serves again")
    assert replica.generation == 2
    assert [pid for pid in first.pids if processes.start_time(pid) is not None] == []


def test_an_engine_that_says_it_is_not_healthy_is_started_afresh(
    worker: Reconciler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "DEEP_PROBE_SECONDS", 0.2)
    monkeypatch.setitem(observe.STEADY_SECONDS, observe.UNHEALTHY, 1.0)
    sick = tmp_path / "sick"
    replica = faulty(tmp_path, SICK=str(sick))
    until(worker, lambda: state(replica) == "ready", "it serves")
    sick.touch()
    until(worker, lambda: state(replica) == "failed", "it is not left ready")
    sick.unlink()
    assert failure().reason == "unhealthy"
    until(worker, lambda: state(replica) == "ready", "it serves again")
    assert replica.generation == 2


def test_a_drain_does_not_wait_at_a_server_that_accepts_no_connection(worker: Reconciler, tmp_path: Path) -> None:
    replica = faulty(tmp_path)
    until(worker, lambda: state(replica) == "ready", "it serves")
    os.kill(engine(replica).pid, signal.SIGUSR1)
    verbs.stop(replica, actor="test")
    until(worker, lambda: state(replica) == "stopped", "it is stopped long before the drain's 300 s")
    assert failure().reason == "connection_refused"
    assert processes.find_all(installation_id()) == {}


@pytest.fixture
def gateway(service_environment: dict[str, str], unused_tcp_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A gateway whose report would live for ten minutes without it."""
    environment = service_environment | {
        "SARDEENZ_GATEWAY_PORT": str(unused_tcp_port),
        "SARDEENZ_GATEWAY_TTL_SECONDS": "600",
    }
    argv = [sys.executable, "-m", "sardeenz.run.serve_gateway"]
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()


def test_a_killed_gateway_holds_up_no_sleep(worker: Reconciler, gateway: subprocess.Popen[bytes]) -> None:
    deployment = factories.deployment(extra_args=["--load-seconds", "0.2"])
    [replica] = verbs.deploy(deployment, actor="test", gpu=GPU.objects.get(index=0))
    until(worker, lambda: state(replica) == "ready", "it serves")
    routed = {replica.marker}
    until(worker, lambda: [report.routes for report in activity.read_reports()] == [routed], "it is routed")
    gateway.kill()
    gateway.wait()
    assert redis.client().keys(redis.key("gateway", "*"))  # the report is there: nothing but the process is gone
    verbs.sleep(replica, actor="test")
    seconds = until(worker, lambda: state(replica) == "sleeping", "it sleeps, although the report says it is routed")
    print(f"asleep {seconds:.1f} s after a gateway's kill")


def test_what_we_ended_loads_again_and_what_slept_waits_for_its_first_request(worker: Reconciler) -> None:
    args = ["--load-seconds", "0.2"]
    served, slept = (
        verbs.deploy(factories.deployment(extra_args=args), actor="test", gpu=GPU.objects.get(index=0))[0]
        for _ in range(2)
    )
    until(worker, lambda: [state(served), state(slept)] == ["ready", "ready"], "both serve")
    verbs.sleep(slept, actor="test")
    until(worker, lambda: state(slept) == "sleeping", "one sleeps")
    engines_left.stop(installation_id(), Path(settings.SEGMENT_DIR), seconds=10)
    resume.resume()
    until(worker, lambda: state(served) == "ready", "who served serves again")
    assert (state(slept), slept.goal) == ("stopped", "sleeping")
    verbs.wake(slept, actor="test")
    until(worker, lambda: state(slept) == "ready", "it loads when it is asked for")
    assert not Transition.objects.filter(new="failed").exists()
    assert [served.restarts, slept.restarts] == [0, 0]


def test_the_log_of_a_loud_engine_is_bounded_while_it_runs(
    worker: Reconciler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ENGINE_LOG_BYTES", 2**20)
    replica = faulty(tmp_path, LOUD="40000")
    until(worker, lambda: state(replica) == "ready", "it serves")
    worker.run()
    log = logs.path(replica.pk, 1, replica.spec["deployment_name"])
    assert log.stat().st_size <= 2**20
    assert logs.tail(log)[-1].startswith("line 39999 ")
