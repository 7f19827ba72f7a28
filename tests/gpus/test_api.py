"""/api/nodes and /api/gpus: facts to read, two knobs to turn."""

import pytest
from django.test import Client

from gpus.models import GPU
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.urls("gpus.urls")]


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user(is_staff=True))
    return client


def patch(client: Client, gpu: GPU, **fields: object) -> tuple[int, dict[str, object]]:
    answer = client.patch(f"/gpus/{gpu.pk}", fields, content_type="application/json")
    return answer.status_code, answer.json()


def test_nobody_unknown_looks(client: Client) -> None:
    assert [client.get(path).status_code for path in ("/nodes", "/gpus")] == [401, 401]


def test_a_gpu_is_shown_with_its_node(operator: Client) -> None:
    gpu = factories.gpu(index=0)
    (row,) = operator.get("/gpus").json()["results"]
    assert (row["uuid"], row["node"], row["node_name"]) == (gpu.uuid, gpu.node_id, gpu.node.name)
    assert row == operator.get(f"/gpus/{gpu.pk}").json()
    (node,) = operator.get("/nodes").json()["results"]
    assert node["name"] == gpu.node.name


def test_an_operator_changes_both_knobs_and_nothing_else(operator: Client) -> None:
    gpu = factories.gpu()
    status, row = patch(operator, gpu, enabled=False, headroom_bytes=2 << 30, name="Mine", memory_bytes=1)
    assert status == 200
    assert (row["enabled"], row["headroom_bytes"], row["name"], row["seq"]) == (False, 2 << 30, gpu.name, gpu.seq + 2)
    gpu.refresh_from_db()
    assert (gpu.enabled, gpu.headroom_bytes, gpu.memory_bytes) == (False, 2 << 30, 80 << 30)


def test_a_patch_that_says_nothing_changes_nothing(operator: Client) -> None:
    gpu = factories.gpu()
    assert patch(operator, gpu)[1]["seq"] == gpu.seq


@pytest.mark.parametrize("headroom_bytes", [-1, (80 << 30) + 1, "much", None, 1 << 70])
def test_a_headroom_that_cannot_be_is_refused(operator: Client, headroom_bytes: object) -> None:
    gpu = factories.gpu()
    status, body = patch(operator, gpu, headroom_bytes=headroom_bytes)
    assert (status, body["code"]) == (400, "invalid_spec")
    assert "headroom_bytes" in body["fields"]  # type: ignore[operator]
    gpu.refresh_from_db()
    assert gpu.headroom_bytes == 1 << 30


def test_gpus_are_neither_made_nor_removed_by_hand(operator: Client) -> None:
    gpu = factories.gpu()
    assert operator.post("/gpus", {}, content_type="application/json").status_code == 405
    assert operator.delete(f"/gpus/{gpu.pk}").status_code == 405
    assert operator.put(f"/gpus/{gpu.pk}", {}, content_type="application/json").status_code == 405


def test_a_guest_may_look_but_not_touch(client: Client) -> None:
    client.force_login(factories.user())
    gpu = factories.gpu()
    assert client.get("/gpus").status_code == 200
    assert patch(client, gpu, enabled=False)[0] == 403
