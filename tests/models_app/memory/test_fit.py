"""Where something would fit is answered by the rule that places it, and nothing is written for the answer."""

from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from gpus.models import GPU
from models_app.errors import NeverFits, NoCapacity
from models_app.lifecycle import verbs
from models_app.memory import fit
from models_app.models import Deployment, Model, Replica
from tests import factories
from tests.models_app.catalogue.folders import LLAMA

pytestmark = pytest.mark.django_db
GIB = factories.GIB


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(factories.user("rita"))
    return client


def ask(client: Client, **given: Any) -> tuple[int, Any]:
    answer = client.get("/api/deployments/fit", given)
    return answer.status_code, answer.json()


def crowded() -> list[GPU]:
    """GPUs of 80, 80, 24 and 40 GiB on two nodes: one nearly full, one closed, one not seen."""
    away = factories.node(name="away")
    gpus = [
        factories.gpu(),
        factories.gpu(),
        factories.gpu(memory_bytes=24 * GIB),
        factories.gpu(node=away, memory_bytes=40 * GIB),
        factories.gpu(node=away, memory_bytes=40 * GIB, enabled=False),
        factories.gpu(node=away, present=False),
    ]
    verbs.deploy(factories.deployment(name="big", weights_bytes=60 * GIB), actor="t", gpu=gpus[0])
    return gpus


class _Undone(Exception):
    """Ends a transaction whose outcome is known: how many replicas found room."""


def placed(deployment: Deployment, gpu: GPU | None) -> bool:
    """Whether `deploy` finds room for all, with everything as before afterwards."""
    try:
        with transaction.atomic():
            raise _Undone(len(verbs.deploy(deployment, actor="t", gpu=gpu)))
    except (NoCapacity, NeverFits):
        return False
    except _Undone as undone:
        return bool(undone.args[0] == deployment.replicas)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("weights", [2, 16, 20, 30, 60, 77, 78, 200])
def test_what_fits_is_what_deploy_finds(weights: int, width: int) -> None:
    gpus = crowded()
    wish = factories.deployment(weights_bytes=weights * GIB, tensor_parallel=width)
    answer = fit.of_deployment(wish, replicas=1)
    assert [one["fits"] for one in answer["gpus"]] == [
        placed(wish, GPU.objects.get(pk=one["gpu"])) for one in answer["gpus"]
    ]
    assert {one["gpu"] for one in answer["gpus"]} == {gpu.pk for gpu in gpus}
    assert answer["fits"] == placed(wish, None)
    assert all(bool(one["why"]) == bool(one["code"]) == (not one["fits"]) for one in answer["gpus"])


def test_a_gpu_without_room_does_not_stand_in_the_way_of_one_that_has_a_copy_already() -> None:
    gpus = crowded()
    GPU.objects.filter(pk=gpus[3].pk).update(enabled=False)
    wish = factories.deployment(weights_bytes=30 * GIB, replicas=2)
    assert [replica.gpu_id for replica in verbs.deploy(wish, actor="t")] == [gpus[1].pk, gpus[1].pk]


@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 5])
def test_several_replicas_fit_as_deploy_places_them_one_after_the_other(replicas: int) -> None:
    crowded()
    wish = factories.deployment(weights_bytes=30 * GIB, replicas=replicas)
    answer = fit.of_deployment(wish, replicas=replicas)
    assert answer["fits"] == placed(wish, None)
    if replicas == 5:
        assert answer["why"].startswith("3 of 5 replicas fit; for the next 32 GiB are needed, ")


def test_a_move_fits_where_move_finds_room() -> None:
    gpus = crowded()
    verbs.deploy(factories.deployment(name="chat", weights_bytes=10 * GIB), actor="t", gpu=gpus[2])
    replica = Replica.objects.select_related("deployment").get(deployment__name="chat")
    Replica.objects.filter(pk=replica.pk).update(state="ready", deadline_at=None)
    answer = fit.of_move(replica)
    codes = {one["gpu"]: one["code"] for one in answer["gpus"]}
    assert [codes[gpu.pk] for gpu in gpus] == ["", "", "same_gpu", "", "gpu_cordoned", "gpu_absent"]
    replica.profile = {"weights_bytes": 20 * GIB, "overhead_bytes": 2 * GIB}
    answer = fit.of_move(replica)
    assert answer["needed_bytes"] == 23 * GIB
    codes = {one["gpu"]: one["code"] for one in answer["gpus"]}
    assert [codes[gpu.pk] for gpu in gpus[:2]] == ["no_capacity", ""]
    with pytest.raises(NeverFits):
        verbs.move(Replica.objects.get(pk=replica.pk), factories.gpu(memory_bytes=8 * GIB), actor="t")


def test_the_api_says_what_is_needed_and_why_not_in_words(reader: Client) -> None:
    crowded()
    model = factories.model()
    status, told = ask(reader, model=model.pk, runtime=factories.runtime().pk, weights_bytes=30 * GIB)
    assert (status, told["needed_bytes"], told["weights_bytes"], told["fits"]) == (200, 33 * GIB, 30 * GIB, True)
    assert {one["why"] for one in told["gpus"]} == {
        "needs 33 GiB",
        "needs 33 GiB, more than the 23 GiB it may ever promise",
        "it is cordoned and takes nothing new",
        "the node does not see it now",
        "",
    }
    status, told = ask(reader, model=model.pk, weights_bytes=90 * GIB)
    assert (status, told["fits"], told["code"]) == (200, False, "never_fits")
    assert "it can never fit: 93 GiB are needed, the largest, GPU " in told["why"]
    assert told["why"].endswith("has 79 GiB when it is empty")


def test_nothing_is_written_for_an_answer(reader: Client) -> None:
    factories.gpu()
    factories.runtime()
    status, told = ask(
        reader, source="org/name", weights_bytes=16 * GIB, replicas=2, extra_args=["--enforce-eager", "--x"]
    )
    assert (status, told["fits"]) == (200, True)
    assert (Model.objects.count(), Deployment.objects.count(), Replica.objects.count()) == (0, 0, 0)


def test_a_size_nobody_knows_is_asked_for_at_its_field(reader: Client) -> None:
    factories.runtime()
    status, body = ask(reader, source="org/name")
    assert (status, body["fields"]["field"]) == (400, "weights_bytes")
    status, body = ask(reader)
    assert (status, list(body["fields"])) == (400, ["model"])
    assert reader.get("/api/replicas/999/fit").status_code == 404


def test_an_edit_is_answered_by_what_the_form_says(reader: Client) -> None:
    factories.gpu()
    known = factories.deployment(weights_bytes=16 * GIB)
    status, told = ask(reader, deployment=known.pk, weights_bytes=100 * GIB, replicas=1)
    assert (status, told["fits"]) == (200, False)
    known.refresh_from_db()
    assert known.weights_bytes == 16 * GIB


def test_who_is_not_signed_in_is_told_nothing(client: Client) -> None:
    assert ask(client, source="org/name")[0] in (401, 403)


def test_the_answer_says_what_sequences_take_how_many_fit_and_where_that_comes_from() -> None:
    factories.gpu(memory_bytes=40 * GIB, headroom_bytes=GIB)
    model = factories.model(facts=LLAMA | {"weights_bytes": 16 * GIB})
    wish = factories.deployment(
        model=model, weights_bytes=None, overhead_bytes=2 * GIB, kv_floor_bytes=GIB, max_model_len=8192
    )
    kv = fit.of_deployment(wish, replicas=1)["kv"]
    assert (kv["grow_bytes"], kv["fixed_bytes"], kv["length"], kv["sequence_bytes"]) == (131_072, 0, 8192, GIB)
    assert (kv["concurrency"], kv["unknown"]) == (39 - 16 - 2, "")
    assert kv["sources"]["grow"].startswith("32 with full attention of 32 layers")


def test_what_is_not_known_of_a_model_is_unknown_and_says_why() -> None:
    factories.gpu()
    wish = factories.deployment(model=factories.model(facts={}), weights_bytes=GIB)
    kv = fit.of_deployment(wish, replicas=1)["kv"]
    assert (kv["grow_bytes"], kv["concurrency"]) == (None, None)
    assert kv["unknown"] == "the model's files cannot be read here"
    strange = factories.model(facts=LLAMA | {"model_type": "mystery", "architectures": [], "weights_bytes": GIB})
    kv = fit.of_deployment(factories.deployment(model=strange, weights_bytes=GIB), replicas=1)["kv"]
    assert kv["unknown"] == "the architecture mystery is not known here"


def test_a_flag_that_is_ours_is_refused_while_it_is_written(reader: Client) -> None:
    model = factories.model(name="chat", facts={"weights_bytes": GIB})
    factories.runtime()
    status, body = ask(reader, model="chat", extra_args=["--enable-prefix-caching", "--port=1"])
    assert (status, body["code"]) == (400, "invalid_spec")
    assert "--port is reserved" in str(body["fields"]["extra_args"])
    assert ask(reader, model=model.pk, extra_args="--enable-prefix-caching")[0] == 200
