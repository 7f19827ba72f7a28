"""A burst beside a sleeper, with real engines of the simulator, one worker's loop, its node's, and no gateway."""

import threading
from collections.abc import Callable, Iterator

import httpx2
import pytest
from django.conf import settings

from gpus import kvcached
from gpus.installation import engine_key
from gpus.models import GPU
from models_app.lifecycle import verbs
from models_app.lifecycle.reconcile import Reconciler
from models_app.management.commands import run_node
from models_app.models import Replica, Transition
from models_app.policy import demand
from tests import factories
from tests.factories import GIB
from tests.models_app.policy.test_demand import say, waits
from tests.models_app.workers import fresh_workers, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
LOADS = ["--load-seconds", "0.2", "--enforce-eager"]


@pytest.fixture
def worker() -> Iterator[Reconciler]:
    """The worker of an empty simulated GPU of 80 GiB."""
    with fresh_workers(Reconciler) as workers:
        stop = threading.Event()
        node = threading.Thread(target=run_node.run, args=(stop,))
        node.start()
        yield workers[0]
        stop.set()
        node.join()


def deploy(worker: Reconciler, name: str, gib: int, *args: str) -> Replica:
    deployment = factories.deployment(
        name=name, weights_bytes=gib * GIB, kv_cap_bytes=None, max_model_len=6000, extra_args=[*LOADS, *args]
    )
    [replica] = verbs.deploy(deployment, actor="test", gpu=GPU.objects.get(uuid=worker.uuid))
    until(worker, lambda: state(replica) == "ready", f"{name} is ready")
    return replica


def state(replica: Replica) -> str:
    replica.refresh_from_db()
    return replica.state


def asked(replica: Replica) -> Callable[[], bool]:
    """Ask for it again, as a gateway does, until it is ready."""

    def ask() -> bool:
        demand.request_ready(replica.deployment_id)
        return state(replica) == "ready"

    return ask


def segment(replica: Replica) -> kvcached.Segment:
    found = kvcached.read(settings.SEGMENT_DIR, replica.ipc_name)
    assert found is not None
    return found


def talk(replica: Replica, tokens: int) -> None:
    """One long request that takes 20 GiB of KV cache."""
    body = {"model": replica.spec["served_name"], "prompt": "word " * 3000, "max_tokens": tokens, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {engine_key(replica.pk, replica.generation)}"}
    answer = httpx2.post(f"{replica.url}/v1/completions", json=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text


def test_a_sleeper_wakes_beside_a_burst_and_the_burst_loses_no_request(worker: Reconciler) -> None:
    quiet = deploy(worker, "quiet", 26)
    verbs.sleep(quiet, actor="test")
    until(worker, lambda: state(quiet) == "sleeping", "quiet sleeps")
    burst = deploy(worker, "burst", 8, "--kv-bytes-per-token", str(4 * 2**20), "--tokens-per-second", "100")
    talkers = [threading.Thread(target=talk, args=(burst, 1000)) for _ in range(4)]
    for talker in talkers:
        talker.start()
    until(worker, lambda: segment(burst).mapped_bytes > 40 * GIB, "the burst fills the GPU")
    say({burst.marker: 4}, waits(quiet, 0))
    waited = until(worker, asked(quiet), "quiet wakes")
    print(f"beside a burst the sleeper is ready after {waited:.1f} s, with {quiet.restarts} restarts")
    for talker in talkers:
        talker.join()
    assert quiet.restarts == 0
    assert quiet.generation == 1
    assert Transition.objects.filter(replica=quiet, reason="waits_for_memory").count() == 1
    until(worker, lambda: segment(burst).limit_bytes == burst.profile["kv_limit_bytes"], "its limit is back")
