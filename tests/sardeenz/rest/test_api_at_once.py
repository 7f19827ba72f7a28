"""What only the database can see: two requests at once, and the database itself away. Never a page of HTML."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection, connections
from django.test import Client, RequestFactory
from psycopg.errors import DeadlockDetected
from pytest_django import Settings
from rest_framework.request import Request

from gateway.models import Scope
from sardeenz import pages
from sardeenz.rest.errors import exception_handler
from tests import factories

BODIES = {
    "deployments": {"name": "one", "model": "weights", "runtime": "simulator", "weights_bytes": 2**30},
    "models": {"name": "one", "source": "org/one"},
    "runtimes": {"name": "one", "kind": "simulator"},
    "teams": {"name": "one"},
    "aliases": {"name": "one", "targets": [{"deployment": "there"}]},
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", sorted(BODIES))
def test_of_eight_that_create_one_name_at_once_one_does(kind: str) -> None:
    factories.model(name="weights")
    factories.deployment(name="there")
    _, token = factories.api_key(Scope.READ, Scope.MANAGE)
    together = Barrier(8)

    def create(_: int) -> tuple[int, Any]:
        client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {token}"})
        try:
            together.wait()
            answer = client.post(f"/api/{kind}", BODIES[kind], content_type="application/json")
            return answer.status_code, answer.json()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(8)))
    refusals = [body["code"] for status, body in answers if status != 201]
    assert min(status for status, _ in answers) == 201
    assert len(refusals) == 7
    assert set(refusals) <= {"invalid_spec", "already_exists"}


@pytest.mark.django_db
def test_a_collision_that_validation_missed_is_a_conflict() -> None:
    factories.team("lab")
    try:
        factories.team("lab")
    except IntegrityError as error:
        answer = exception_handler(error, {"request": Request(RequestFactory().post("/api/teams"))})
    assert answer is not None
    assert (answer.status_code, answer.data["code"]) == (409, "already_exists")
    connection.set_rollback(True)


def raised_from(error: Exception, cause: Exception) -> Exception:
    """As Django raises it."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (IntegrityError("a foreign key"), 409, "conflict"),
        (raised_from(OperationalError("deadlock detected"), DeadlockDetected()), 409, "conflict"),
        (DataError("bigint out of range"), 400, "invalid_spec"),
        (OperationalError("connection refused"), 503, "database_unavailable"),
        (InterfaceError("connection already closed"), 503, "database_unavailable"),
    ],
)
def test_what_a_database_says_has_a_code(error: Exception, status: int, code: str) -> None:
    answer = exception_handler(error, {"request": Request(RequestFactory().get("/api/teams"))})
    assert answer is not None
    assert (answer.status_code, answer.data["code"]) == (status, code)


@pytest.mark.django_db
def test_a_fault_of_ours_is_json_for_programs(settings: Settings) -> None:
    answer = pages.failed(RequestFactory().get("/api/teams", headers={"accept": "text/html"}))
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/json")
    page = pages.failed(RequestFactory().get("/admin/", headers={"accept": "text/html"}))
    assert (page.status_code, page["Content-Type"]) == (500, "text/html; charset=utf-8")


@pytest.mark.django_db
def test_a_strange_host_is_refused_in_json(client: Client) -> None:
    answer = client.get("/api/teams", headers={"host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
