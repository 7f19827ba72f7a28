"""GET /api/history: the beat keeps what nodes read, and a page asks for an hour or a month of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from gpus import samples, telemetry
from models_app import tasks
from models_app.models import Transition
from models_app.node import frame as node_frame
from models_app.node import history
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.urls("models_app.urls")]
ENGINE: Any = {
    "marker": "7:2",
    "replica_id": 7,
    "generation": 2,
    "pid": 1,
    "running": 3,
    "waiting": 1,
    "kv_usage_ratio": 0.5,
    "prompt_tokens": 10,
    "generation_tokens": 20,
    "sleeping": False,
    "tokens_per_second": 12.5,
    "kv_limit_bytes": 4096,
    "kv_limit_why": "free",
}


@pytest.fixture
def signed_in(client: Client) -> Client:
    client.force_login(factories.user(is_staff=True))
    return client


def test_what_the_beat_keeps_is_what_the_page_gets(signed_in: Client) -> None:
    frame = node_frame.collect()
    telemetry.publish(frame)
    tasks.keep_samples()
    gpu = frame["gpus"][0]
    told = signed_in.get("/history", {"subject": f"gpu:{gpu['uuid']}"}).json()
    assert (told["step_seconds"], len(told["at"])) == (10, 1)
    assert set(told["mean"]) == set(told["greatest"]) == set(history.FIELDS["gpu"])
    assert told["mean"]["memory_used_bytes"] == [gpu["memory_used_bytes"]]
    assert told["mean"]["free_bytes"] == [frame["ledgers"][gpu["uuid"]]["free_bytes"]]
    node = signed_in.get("/history", {"subject": f"node:{frame['node']}"}).json()
    used = frame["host"]["memory_total_bytes"] - frame["host"]["memory_available_bytes"]
    assert node["mean"]["memory_used_bytes"] == [used]
    assert node["mean"]["sleepers_bytes"] == [None]  # nobody has read the host's RAM


def test_the_last_day_is_told_from_the_first_reading_on(signed_in: Client) -> None:
    telemetry.publish(node_frame.collect())
    tasks.keep_samples()
    gpu = node_frame.collect()["gpus"][0]["uuid"]
    for hours in (24, 168):
        told = signed_in.get("/history", {"subject": f"gpu:{gpu}", "hours": hours}).json()
        assert len(told["at"]) == 1, hours


def test_nothing_is_kept_of_nodes_that_do_not_read() -> None:
    tasks.keep_samples()


@pytest.mark.parametrize(("sizes", "memory"), [({"A": 5, "B": 6}, 11), ({"A": 5, "B": None}, None), ({}, None)])
def test_an_engines_memory_is_of_all_its_gpus_or_unknown(sizes: dict[str, int | None], memory: int | None) -> None:
    frame = node_frame.collect()
    frame["engines"] = [{**ENGINE, "memory_bytes": sizes}]
    kept = history.values([frame])["replica:7"]
    assert dict(zip(history.FIELDS["replica"], kept, strict=True)) == {
        "running": 3,
        "waiting": 1,
        "kv_usage_ratio": 0.5,
        "tokens_per_second": 12.5,
        "kv_mapped_bytes": None,
        "kv_limit_bytes": 4096,
        "memory_bytes": memory,
    }


def test_every_kind_has_as_many_values_as_fields() -> None:
    frame = node_frame.collect()
    frame["engines"] = [{**ENGINE, "memory_bytes": {}}]
    for subject, values in history.values([frame]).items():
        assert len(values) == len(history.FIELDS[subject.partition(":")[0]])


def test_an_end_in_the_past_shows_what_was_before_it(signed_in: Client) -> None:
    then = timezone.now() - timedelta(hours=5)
    samples.keep({"replica:7": [1.0] * 7}, then)
    asked = {"subject": "replica:7", "until": (then + timedelta(minutes=1)).isoformat(), "hours": 0.5}
    assert signed_in.get("/history", asked).json()["mean"]["running"] == [1.0]
    assert signed_in.get("/history", {"subject": "replica:7"}).json()["at"] == []


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({}, "subject", "it is missing"),
        ({"subject": "gpu"}, "subject", "gpu:..., node:..., replica:..."),
        ({"subject": "disk:A"}, "subject", "gpu:..., node:..., replica:..."),
        ({"subject": "gpu:A", "hours": "0"}, "hours", "0.05"),
        ({"subject": "gpu:A", "hours": "many"}, "hours", "it must be a number"),
        ({"subject": "gpu:A", "hours": "721"}, "hours", "720"),
        ({"subject": "gpu:A", "until": "noon"}, "until", "ISO 8601"),
    ],
)
def test_what_cannot_be_asked_is_said(signed_in: Client, asked: dict[str, str], field: str, words: str) -> None:
    answer = signed_in.get("/history", asked)
    assert answer.status_code == 400
    told = answer.json()
    assert told["code"] == "invalid_spec"
    assert words in str(told["fields"][field])


def test_nobody_unknown_looks(client: Client) -> None:
    assert client.get("/history", {"subject": "gpu:A"}).status_code == 401


def test_a_deployments_history_is_that_of_its_replicas_together(signed_in: Client) -> None:
    of = factories.deployment(name="chat")
    here = factories.replica(deployment=of)
    now = timezone.now()
    gone = here.pk + 1000
    Transition.objects.create(
        replica_id=gone, deployment_name="chat", generation=1, new="stopped", goal="stopped", actor="worker"
    )
    one = [2.0, 0.0, 0.5, 10.0, 100.0, 200.0, 1000.0]
    other = [1.0, 4.0, 0.1, 5.0, None, 200.0, 500.0]
    samples.keep({f"replica:{here.pk}": one, f"replica:{gone}": other, f"replica:{gone + 1}": one}, now)
    told = signed_in.get("/history", {"subject": "deployment:chat"}).json()
    assert {name: values[0] for name, values in told["mean"].items()} == {
        "running": 3.0,
        "waiting": 4.0,
        "kv_usage_ratio": pytest.approx(0.3),
        "tokens_per_second": 15.0,
        "kv_mapped_bytes": 100.0,
        "kv_limit_bytes": 400.0,
        "memory_bytes": 1500.0,
    }
    assert signed_in.get("/history", {"subject": "deployment:nobody"}).json()["at"] == []
