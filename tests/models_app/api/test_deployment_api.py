"""/api/deployments: the intent, checked field by field, and the verbs over all its replicas."""

from typing import Any

import pytest
from django.test import Client

from models_app.models import Deployment, EngineRuntime, Replica
from models_app.states import Goal, State
from tests import factories

pytestmark = pytest.mark.django_db
GIB = factories.GIB


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


def send(client: Client, method: str, path: str, **fields: object) -> tuple[int, Any]:
    answer = getattr(client, method)(f"/api/deployments{path}", fields, content_type="application/json")
    return answer.status_code, answer.json() if answer.content else None


def create(client: Client, **fields: object) -> tuple[int, Any]:
    factories.runtime()
    given = {"name": "chat", "model": factories.model().pk, "weights_bytes": 16 * GIB}
    return send(client, "post", "", **(given | fields))


def test_a_name_and_a_model_are_enough(operator: Client) -> None:
    status, row = create(operator)
    assert (status, row["served_name"], row["runtime_name"], row["replicas"], row["placed"]) == (
        201,
        "chat",
        "simulator",
        1,
        0,
    )
    assert send(operator, "get", f"/{row['id']}") == (200, row)
    assert operator.get("/api/deployments?name=chat").json()["results"] == [row]


def test_a_model_and_a_runtime_may_be_named(operator: Client) -> None:
    model = factories.model(name="llama")
    status, row = create(operator, model="llama", runtime="simulator")
    assert (status, row["model"]) == (201, model.pk)


def test_with_several_runtimes_one_must_be_named(operator: Client) -> None:
    factories.runtime(name="other")
    status, body = create(operator)
    assert (status, body["fields"]) == (400, {"runtime": ["there is more than one; name it"]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "no spaces"),
        ("name", "../up"),
        ("model", 10**9),
        ("model", "nobody"),
        ("served_name", "-dash"),
        ("extra_args", ["--port", "1"]),
        ("extra_args", ["--por=1"]),
        ("extra_args", "--flag"),
        ("environment", {"A": {}}),
        ("max_model_len", 0),
        ("tensor_parallel", 0),
        ("replicas", 65),
        ("weights_bytes", -1),
        ("kv_cap_bytes", 2**70),
        ("idle_sleep_seconds", 0),
    ],
)
def test_a_wrong_field_is_named(operator: Client, field: str, value: object) -> None:
    status, body = create(operator, **{field: value})
    assert (status, body["code"], list(body["fields"])) == (400, "invalid_spec", [field])
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("name", ["SARDEENZ_REPLICA", "CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "not a name", ""])
def test_a_variable_that_is_not_the_deployments_to_set_is_refused(operator: Client, name: str) -> None:
    status, body = create(operator, environment={name: "1"})
    assert (status, list(body["fields"])) == (400, ["environment"])


def test_what_looks_like_a_secret_is_hidden_and_survives_being_sent_back(operator: Client) -> None:
    _, row = create(operator, environment={"HF_TOKEN": "hf_x", "OMP_NUM_THREADS": "2"})
    assert row["environment"] == {"HF_TOKEN": "(hidden)", "OMP_NUM_THREADS": "2"}
    send(operator, "patch", f"/{row['id']}", environment=row["environment"])
    assert Deployment.objects.get().environment == {"HF_TOKEN": "hf_x", "OMP_NUM_THREADS": "2"}


def test_a_cap_below_the_floor_is_refused(operator: Client) -> None:
    assert create(operator, kv_floor_bytes=2, kv_cap_bytes=1)[1]["fields"].keys() == {"kv_cap_bytes"}


def test_neither_name_may_be_another_deployments(operator: Client) -> None:
    factories.deployment(name="a", served_name="b")
    assert create(operator, name="a")[0] == 400
    assert create(operator, name="b")[1]["fields"].keys() >= {"served_name"}
    assert create(operator, served_name="a")[1]["fields"].keys() == {"served_name"}


def test_a_cpu_runs_on_one_device(operator: Client) -> None:
    cpu = factories.runtime(name="cpu", kind=EngineRuntime.Kind.VLLM_CPU, executable="/opt/vllm")
    status, body = create(operator, runtime=cpu.pk, tensor_parallel=2)
    assert (status, body["fields"].keys()) == (400, {"tensor_parallel"}), body


def test_a_patch_changes_what_it_says_and_lets_seq_grow(operator: Client) -> None:
    deployment = factories.deployment()
    status, row = send(operator, "patch", f"/{deployment.pk}", priority=7, extra_args=["--enforce-eager"])
    assert (status, row["priority"], row["extra_args"], row["seq"]) == (200, 7, ["--enforce-eager"], 2)
    assert row["weights_bytes"] == deployment.weights_bytes
    assert send(operator, "patch", f"/{deployment.pk}", name="new")[1]["fields"].keys() == {"name"}


def test_the_served_name_stays_while_engines_answer_to_it(operator: Client) -> None:
    replica = factories.replica()
    path = f"/{replica.deployment_id}"
    status, body = send(operator, "patch", path, served_name="new")
    assert (status, body["code"]) == (409, "deployment_live")
    Replica.objects.filter(pk=replica.pk).update(state=State.STOPPED)
    assert send(operator, "patch", path, served_name="new")[1]["served_name"] == "new"


def test_deploy_places_the_replicas(operator: Client) -> None:
    factories.gpu()
    wanted = factories.gpu()
    deployment = factories.deployment()
    status, row = send(operator, "post", f"/{deployment.pk}/deploy", gpu=wanted.uuid)
    assert (status, row["placed"]) == (202, 1)
    assert Replica.objects.get().gpu == wanted


def test_what_can_never_fit_is_told_so_and_leaves_nothing_behind(operator: Client) -> None:
    gpu = factories.gpu(memory_bytes=4 * GIB)
    deployment = factories.deployment()
    for verb in ("deploy", "start"):
        status, body = send(operator, "post", f"/{deployment.pk}/{verb}")
        assert (status, body["code"], body["fields"]["needed_bytes"]) == (409, "never_fits", 18 * GIB)
        words = f"it can never fit: 18 GiB are needed, GPU 0 of {gpu.node.name} has 3 GiB when it is empty"
        assert body["message"] == words
    deployment.refresh_from_db()
    assert (deployment.goal, deployment.seq, Replica.objects.count()) == (Goal.STOPPED, 1, 0)


def test_what_finds_no_room_is_accepted_and_says_that_it_waits(operator: Client) -> None:
    gpu = factories.gpu()
    large = factories.replica(gpu=gpu, deployment=factories.deployment(weights_bytes=70 * GIB))
    deployment = factories.deployment()
    status, row = send(operator, "post", f"/{deployment.pk}/deploy")
    assert (status, row["goal"], row["reason"], row["placed"]) == (202, "ready", "no_capacity", 0)
    where = f"18 GiB are needed, GPU 0 of {gpu.node.name} has 7 GiB free"
    assert row["message"] == f"It waits for room: {where}"
    status, body = send(operator, "post", f"/{deployment.pk}/deploy", gpu=gpu.uuid)
    who = f"`{large.deployment.name}` can make room: ask again with evict"
    assert (status, body["code"], body["message"]) == (503, "no_capacity", f"{where}; {who}")
    status, row = send(operator, "post", f"/{deployment.pk}/stop")
    assert (status, row["goal"], row["message"]) == (202, "stopped", "")


@pytest.mark.parametrize(
    ("verb", "state", "goal"),
    [
        ("start", State.STOPPED, Goal.READY),
        ("start", State.SLEEPING, Goal.READY),
        ("stop", State.READY, Goal.STOPPED),
        ("sleep", State.READY, Goal.SLEEPING),
        ("wake", State.SLEEPING, Goal.READY),
    ],
)
def test_a_verb_reaches_every_replica(operator: Client, verb: str, state: State, goal: Goal) -> None:
    deployment = factories.deployment(replicas=2)
    for _ in range(2):
        factories.replica(state, deployment=deployment)
    assert send(operator, "post", f"/{deployment.pk}/{verb}")[0] == 202
    assert set(Replica.objects.values_list("goal", flat=True)) == {goal}
    assert send(operator, "post", f"/{deployment.pk}/{verb}")[0] == 202


def test_a_verb_without_a_replica_for_it_is_a_conflict(operator: Client) -> None:
    replica = factories.replica(State.STOPPED)
    status, body = send(operator, "post", f"/{replica.deployment_id}/wake")
    assert (status, body["code"], body["fields"]["state"]) == (409, "illegal_transition", "stopped")
    assert send(operator, "post", f"/{factories.deployment().pk}/sleep")[1]["fields"]["state"] == "none placed"


def test_of_two_replicas_that_cannot_both_sleep_neither_does(operator: Client) -> None:
    deployment = factories.deployment(replicas=2)
    factories.replica(deployment=deployment)
    factories.replica(State.STARTING, deployment=deployment)
    assert send(operator, "post", f"/{deployment.pk}/sleep")[0] == 409
    assert set(Replica.objects.values_list("goal", flat=True)) == {Goal.READY}


def test_deleting_waits_for_the_last_engine(operator: Client) -> None:
    idle, live = factories.deployment(), factories.replica().deployment
    assert send(operator, "delete", f"/{idle.pk}") == (204, None)
    status, row = send(operator, "delete", f"/{live.pk}")
    assert (status, row["deleting"]) == (202, True)
    assert Replica.objects.get().goal == Goal.STOPPED


def test_limits_of_a_deployment_can_be_set_and_taken_away(operator: Client) -> None:
    until = "2040-01-01T00:00:00+00:00"
    limits = {"max_concurrency": 8, "queue_limit": 0, "queue_seconds": 2.5, "prefix_affinity": True}
    status, row = create(operator, **limits, capture_until=until)
    assert (status, {field: row[field] for field in limits}, row["capture_until"]) == (201, limits, until)
    status, row = send(operator, "patch", f"/{row['id']}", max_concurrency=None, capture_until=None)
    assert (status, row["max_concurrency"], row["capture_until"]) == (200, None, None)


@pytest.mark.parametrize(
    ("field", "value"), [("max_concurrency", 0), ("queue_limit", -1), ("queue_seconds", -1), ("capture_until", "soon")]
)
def test_a_wrong_limit_is_named(operator: Client, field: str, value: object) -> None:
    status, body = create(operator, **{field: value})
    assert (status, list(body["fields"])) == (400, [field])


def test_a_deployment_takes_no_name_of_an_alias(operator: Client) -> None:
    deployment = factories.deployment()
    factories.alias("gpt-4", (deployment, 1))
    for fields in ({"name": "gpt-4", "served_name": "other"}, {"name": "other", "served_name": "gpt-4"}):
        assert create(operator, **fields)[0] == 400
    status, body = send(operator, "patch", f"/{deployment.pk}", served_name="gpt-4")
    assert (status, list(body["fields"])) == (400, ["served_name"])


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"name": ""}, "name", "it may not be empty"),
        ({"served_name": "x" * 201}, "served_name", "it may have 200 characters at most"),
        ({"name": "taken"}, "name", "it is taken already; choose another"),
        ({"tensor_parallel": 0}, "tensor_parallel", "it must be at least 1"),
        ({"weights_bytes": 0}, "weights_bytes", "it must be more than 0"),
        ({"weights_bytes": 2**61}, "weights_bytes", "it may be 1073741824 GiB at most"),
        ({"runtime": 77}, "runtime", "there is no runtime 77"),
    ],
)
def test_what_is_wrong_with_a_value_is_said_in_our_words(
    operator: Client, given: dict[str, Any], field: str, words: str
) -> None:
    factories.deployment(name="taken")
    status, body = create(operator, **given)
    assert (status, body["code"]) == (400, "invalid_spec")
    assert body["fields"][field][0] == words
    assert words in body["message"]


def test_what_is_missing_is_named(operator: Client) -> None:
    status, body = send(operator, "post", "", model=factories.model().pk)
    assert (status, body["message"]) == (400, "name: it is missing")
