"""A deployment, its model and its placing in one request: all of it, or nothing."""

from typing import Any

import pytest
from django.test import Client

from models_app.models import Deployment, Model, Replica
from tests import factories

pytestmark = pytest.mark.django_db
GIB = factories.GIB


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(factories.user("olive", is_staff=True))
    return client


def create(client: Client, **fields: object) -> tuple[int, Any]:
    factories.runtime()
    given = {"name": "chat", "source": "org/Chat-8B", "weights_bytes": 16 * GIB, "deploy": True}
    answer = client.post("/api/deployments", given | fields, content_type="application/json")
    return answer.status_code, answer.json()


def test_a_source_makes_the_model_and_deploy_places_it(operator: Client) -> None:
    wanted = [factories.gpu(), factories.gpu()][1]
    status, row = create(operator, gpu=1, revision="abc")
    assert (status, row["placed"], row["model_name"]) == (201, 1, "Chat-8B")
    assert (Model.objects.get().revision, Replica.objects.get().gpu) == ("abc", wanted)


@pytest.mark.parametrize("source", ["llama", "org/llama"])
def test_a_model_there_is_goes_by_its_name_or_source(operator: Client, source: str) -> None:
    factories.gpu()
    model = factories.model(name="llama", source="org/llama")
    assert create(operator, source=source)[1]["model"] == model.pk
    assert Model.objects.count() == 1


@pytest.mark.parametrize("wrong", [{"gpu": 7}, {"weights_bytes": 500 * GIB}, {"extra_args": ["--port", "1"]}])
def test_what_is_refused_leaves_nothing_behind(operator: Client, wrong: dict[str, Any]) -> None:
    factories.gpu()
    status, body = create(operator, **wrong)
    assert status >= 400, body
    assert not Model.objects.exists()
    assert not Deployment.objects.exists()


def test_a_change_that_cannot_be_placed_is_not_made(operator: Client) -> None:
    factories.gpu()
    deployment = factories.deployment(replicas=1)
    given = {"weights_bytes": 500 * GIB, "deploy": True}
    answer = operator.patch(f"/api/deployments/{deployment.pk}", given, content_type="application/json")
    assert answer.status_code >= 400
    deployment.refresh_from_db()
    assert deployment.weights_bytes == 16 * GIB


def test_neither_model_nor_source_is_told(operator: Client) -> None:
    factories.runtime()
    answer = operator.post("/api/deployments", {"name": "chat"}, content_type="application/json")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["model"])
