"""Engines that no replica owns: adopted as they are, ended by hand, or ended because nobody can use them any more."""

import os
import sys
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client

from gpus import kvcached, processes, telemetry
from gpus.installation import engine_key, installation_id
from gpus.models import GPU
from models_app.engines.client import EngineClient
from models_app.lifecycle import verbs
from models_app.lifecycle.orphans import keeping
from models_app.lifecycle.reconcile import Reconciler
from models_app.models import Decision, Deployment, Replica, Reservation, Transition
from models_app.node import frame
from models_app.node.owners import Owners
from models_app.states import State
from tests import factories
from tests.models_app.workers import fresh_workers, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
ARGS = ["--load-seconds", "0.2", "--sleep-seconds", "0", "--wake-seconds", "0"]


@pytest.fixture
def workers() -> Iterator[list[Reconciler]]:
    with fresh_workers(Reconciler) as made:
        yield made


@pytest.fixture
def api(client: Client) -> Client:
    client.force_login(factories.user("anna", is_staff=True, is_superuser=True))
    return client


def orphaned(workers: list[Reconciler], **fields: object) -> tuple[Deployment, str, int]:
    """A deployment whose replica served, and whose rows are lost: the deployment, its engine's marker and its pid."""
    deployment = factories.deployment(**({"extra_args": ARGS} | fields))
    [replica] = verbs.deploy(deployment, actor="test")
    until(workers, lambda: Replica.objects.get(pk=replica.pk).state == State.READY, "it serves")
    Reservation.objects.filter(replica=replica).delete()
    Replica.objects.filter(pk=replica.pk).delete()
    deployment.refresh_from_db()
    return deployment, replica.marker, processes.find_all(installation_id())[replica.marker].pid


def seen() -> None:
    """The node's frame, by rows that were read after its engines were seen."""
    owners = Owners()
    owners.due(processes.find_all(installation_id()).keys())
    owners.read()
    telemetry.publish(frame.collect(owners=owners))


def look(workers: list[Reconciler]) -> dict[str, processes.EngineProcess]:
    """What runs once every worker has looked."""
    for worker in workers:
        worker.run()
    processes.reap()
    return processes.find_all(installation_id())


def test_an_orphan_is_adopted_as_it_is(workers: list[Reconciler], api: Client) -> None:
    deployment, marker, pid = orphaned(workers)
    assert marker in look(workers)
    seen()
    [row] = api.get("/api/orphans").json()
    assert (row["marker"], row["pid"], row["deployment"], row["why_not"]) == (marker, pid, deployment.name, "")
    assert sum(row["memory_bytes"].values()) > 16 * factories.GIB
    assert api.post(f"/api/orphans/{marker}/adopt").status_code == 202
    replica = Replica.objects.get()
    assert (replica.marker, replica.deployment) == (marker, deployment)
    until(workers, lambda: Replica.objects.get().state == State.READY, "the adopted one serves")
    replica.refresh_from_db()
    assert processes.find_all(installation_id())[marker].pid == pid
    assert EngineClient(replica.url, engine_key(replica.pk, replica.generation)).health(timeout_seconds=5)
    assert kvcached.read(os.environ["SARDEENZ_SEGMENT_DIR"], replica.ipc_name) is not None
    assert replica.reservations.get().held_bytes == 18 * factories.GIB
    assert replica.canary is not None
    assert "load_seconds" not in replica.profile, "nobody knows what its load took"
    told = Transition.objects.get(reason="adopted")
    assert (told.actor, told.fields["pid"]) == ("anna", pid)
    seen()
    assert api.get("/api/orphans").json() == []


def test_no_new_replica_takes_the_number_of_an_orphan(workers: list[Reconciler]) -> None:
    _, marker, _ = orphaned(workers)
    number = int(marker.partition(":")[0])
    with connection.cursor() as cursor:  # as after an older database was restored
        cursor.execute("SELECT setval(pg_get_serial_sequence('models_app_replica', 'id'), %s, false)", [number])
    assert marker in look(workers)
    [other] = verbs.deploy(factories.deployment(extra_args=ARGS), actor="test")
    assert other.pk > number


def test_it_comes_in_the_stead_of_one_that_does_not_serve(workers: list[Reconciler], api: Client) -> None:
    deployment, marker, _ = orphaned(workers)
    [other] = verbs.deploy(deployment, actor="test")
    assert other.state == State.PENDING
    seen()
    assert api.post(f"/api/orphans/{marker}/adopt").status_code == 202
    until(workers, lambda: [row.state for row in Replica.objects.all()] == [State.READY], "the adopted one alone")
    assert Replica.objects.get().marker == marker
    assert list(processes.find_all(installation_id())) == [marker]


def test_no_deployment_is_given_more_than_its_number(workers: list[Reconciler], api: Client) -> None:
    deployment, marker, _ = orphaned(workers)
    [other] = verbs.deploy(deployment, actor="test")
    until(workers, lambda: Replica.objects.get(pk=other.pk).state == State.READY, "another serves")
    seen()
    answer = api.post(f"/api/orphans/{marker}/adopt")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_adoptable")
    assert "has its 1 replica already" in answer.json()["message"]
    assert list(Replica.objects.values_list("pk", flat=True)) == [other.pk]


def test_what_its_gpu_has_promised_to_others_is_not_taken(workers: list[Reconciler], api: Client) -> None:
    _, marker, _ = orphaned(workers)
    seen()
    [row] = api.get("/api/orphans").json()
    home = GPU.objects.get(uuid=row["gpu_uuids"][0])
    factories.replica(State.STOPPED, gpu=home).reservations.update(held_bytes=70 * factories.GIB)
    answer = api.post(f"/api/orphans/{marker}/adopt")
    assert (answer.status_code, answer.json()["code"]) == (503, "no_capacity")
    assert not Replica.objects.filter(reason="adopted").exists()


def test_an_orphan_is_ended_by_hand(workers: list[Reconciler], api: Client) -> None:
    deployment, marker, pid = orphaned(workers)
    assert marker in look(workers)
    seen()
    assert api.post(f"/api/orphans/{marker}/end").status_code == 202
    until(workers, lambda: marker not in look(workers), "it is ended")
    assert processes.start_time(pid) is None
    word, done = Decision.objects.filter(kind="orphan").order_by("id")
    assert (word.code, word.actor, word.deployment_name) == ("end_orphan", "anna", deployment.name)
    assert (done.code, done.actor) == ("orphan_ended", "worker")
    assert "an operator wanted it so" in done.sentence
    assert api.post(f"/api/orphans/99{marker}/end").status_code == 404


@pytest.mark.parametrize("why", ["settings", "deleting", "late"])
def test_what_nobody_can_use_is_ended_by_itself(workers: list[Reconciler], settings: LazySettings, why: str) -> None:
    _, marker, _ = orphaned(workers)
    assert marker in look(workers)
    match why:
        case "settings":
            Deployment.objects.update(extra_args=[*ARGS, "--seed", "7"])
        case "deleting":
            Deployment.objects.update(deleting=True)
        case "late":
            settings.ORPHAN_SECONDS = 0
    until(workers, lambda: marker not in look(workers), "it is ended")
    [told] = Decision.objects.filter(code="orphan_ended")
    words = {
        "settings": "no deployment would launch it as it was launched",
        "deleting": "no deployment would launch it as it was launched",
        "late": "nobody adopted it within 0 s",
    }
    assert words[why] in told.sentence


def test_the_end_of_one_that_takes_its_time_is_told_once(
    workers: list[Reconciler], settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen again while it dies, it may be ended for another reason."""
    orphaned(workers)
    with monkeypatch.context() as patch:
        patch.setattr(keeping.processes, "kill", lambda engine: None)
        Deployment.objects.update(deleting=True)
        look(workers)
        settings.ORPHAN_SECONDS = 0
        look(workers)
    look(workers)
    assert [told.times for told in Decision.objects.filter(code="orphan_ended")] == [1]


def test_an_orphan_whose_memory_is_needed_is_ended(workers: list[Reconciler]) -> None:
    GPU.objects.exclude(uuid=workers[0].uuid).update(enabled=False)
    _, marker, _ = orphaned(workers, weights_bytes=50 * factories.GIB)
    assert marker in look(workers)
    [other] = verbs.deploy(factories.deployment(extra_args=ARGS, weights_bytes=50 * factories.GIB), actor="test")
    until(workers, lambda: Replica.objects.get(pk=other.pk).state == State.READY, "the other loads in its place")
    assert marker not in processes.find_all(installation_id())
    assert "a replica waits for memory of its GPU" in Decision.objects.get(code="orphan_ended").sentence


def test_an_engine_of_another_installation_is_not_touched(workers: list[Reconciler], settings: LazySettings) -> None:
    marker = processes.marker_of("another", 7, 1)
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    environment = {"PATH": os.environ["PATH"]}
    pid = processes.spawn(argv, environment=environment, log_path=settings.LOG_DIR / "stranger.log", marker=marker)
    try:
        look(workers)
        assert processes.start_time(pid) is not None
    finally:
        os.kill(pid, 9)
        processes.reap()
