"""The whole management API against what its schema allows and what it does not: never a 500, errors always as JSON.

Two ways: schemathesis draws requests from the schema, valid ones and broken ones; and every field and every parameter
of every operation gets each kind of nonsense that people and programs have been seen to send. Both are the same at
every run, and everything happens in this process, on the test's own database.
"""

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import schemathesis
from django.db import transaction
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from gateway.models import Scope
from models_app.states import State
from tests import factories

pytestmark = pytest.mark.django_db
RAW: dict[str, Any] = json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True)))  # type: ignore[no-untyped-call]
NONSENSE: list[Any] = [
    None,
    True,
    -1,
    2**63,
    10**400,
    1e308,
    "",
    "a\0b",
    "\ud800",
    "x" * 100_000,
    [],
    [[]],
    {"a": {"b": []}},
    ["\0"],
]
TEXTS = [
    "",
    "a\0b",
    "-1",
    "1",
    "0",
    "9" * 18,
    "9" * 30,
    "9" * 5000,
    "x" * 5000,
    "1e400",
    "NaN",
    "²",
    "٣",
    "a/b",
    "%",
    "[]",
]
BODIES = [
    (b"", "application/json"),
    (b"{", "application/json"),
    (b"[]", "application/json"),
    (b"null", "application/json"),
    (b"\xff\xfe", "application/json"),
    (b"\xef\xbb\xbf{}", "application/json"),
    (b"[" * 100_000, "application/json"),
    (b'{"a":' * 50_000, "application/json"),
    (b'{"priority": NaN}', "application/json"),
    (b'{"priority": ' + b"9" * 6000 + b"}", "application/json"),
    (b"a=b", "application/x-www-form-urlencoded"),
    (b"{}", "application/json; charset=nonsense"),
    (b"{}", "nonsense"),
]
BASES: dict[str, dict[str, Any]] = {
    "/api/deployments": {"name": "new", "model": "chat-weights", "runtime": "simulator"},
    "/api/models": {"name": "new", "source": "org/new"},
    "/api/runtimes": {"name": "new", "kind": "simulator"},
    "/api/teams": {"name": "new"},
    "/api/keys": {"name": "new", "scopes": ["inference"]},
    "/api/configuration/plan": {"document": "deployments: {chat: {priority: 1}}"},
    "/api/configuration/apply": {"document": "deployments: {chat: {priority: 1}}"},
    "/api/aliases": {"name": "new", "targets": [{"deployment": "chat"}]},
}

SESSION_ONLY = {"/api/playground"}
"""What lets no key in."""


class Installation:
    """One of everything, and who may act on it."""

    def __init__(self) -> None:
        gpu = factories.gpu()
        deployment = factories.deployment(name="chat")
        replica = factories.replica(State.READY, deployment=deployment, gpu=gpu)
        team = factories.team("lab")
        spare, _ = factories.api_key("inference", team=team)
        alias = factories.alias("gpt", (deployment, 1))
        self.ids = {
            "deployments": deployment.pk,
            "replicas": replica.pk,
            "models": deployment.model_id,
            "runtimes": deployment.runtime_id,
            "gpus": gpu.pk,
            "nodes": gpu.node_id,
            "teams": team.pk,
            "keys": spare.pk,
            "aliases": alias.pk,
            "captures": deployment.pk,
        }
        _, self.token = factories.api_key(Scope.READ, Scope.MANAGE, expires_at=timezone.now() + timedelta(days=1))
        self.client = Client(raise_request_exception=False)

    def path(self, template: str) -> str:
        """The address of something that is there."""
        kind = template.split("/")[2]
        known = {"{id}": self.ids.get(kind, 1), "{deployment}": self.ids["deployments"]}
        known |= {"{capture}": "1-1", "{marker}": "1:1", "{request_id}": "a"}
        for name, value in known.items():
            template = template.replace(name, str(value))
        return template

    def send(
        self, method: str, path: str, body: Any = b"", query: str = "", content_type: str = "application/json"
    ) -> Any:
        """Ask, and undo whatever it did: each request meets the same installation."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}"}
        with transaction.atomic():
            answer = self.client.generic(method, f"{path}?{query}", data, content_type, headers=headers)
            transaction.set_rollback(True)
        return answer


@pytest.fixture
def here(db: None) -> Installation:
    return Installation()


def wrong(answer: Any) -> str:
    """What is wrong with an answer, if anything is: it failed, or refuses in another way than every other refusal."""
    if answer.status_code >= 500 and answer.status_code != 503:
        return f"{answer.status_code} {answer.content[:120]!r}"
    if answer.status_code >= 400:
        body = answer.json() if answer["Content-Type"].startswith("application/json") else {}
        if not {"code", "message", "fields", "request_id"} <= set(body):
            return f"{answer.status_code} {answer['Content-Type']} {answer.content[:120]!r}"
    return ""


def resolved(schema: Any) -> Any:
    """The schema that a reference means."""
    while isinstance(schema, dict) and "$ref" in schema:
        schema = RAW["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def fields_of(operation: dict[str, Any]) -> list[str]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return sorted(resolved(body).get("properties", {}))


def queries_of(operation: dict[str, Any]) -> list[str]:
    return [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for template, methods in RAW["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), template, operation


def _base(method: str, template: str) -> dict[str, Any]:
    """What makes the rest of a new thing right, so that the field alone decides."""
    return BASES.get(template, {}) if method == "POST" else {}


def test_every_field_with_every_kind_of_nonsense(here: Installation) -> None:
    found = [
        (method, template, field, repr(value)[:40], problem)
        for method, template, operation in operations()
        for field in fields_of(operation)
        for value in NONSENSE
        if (problem := wrong(here.send(method, here.path(template), _base(method, template) | {field: value})))
    ]
    assert found == [], "\n".join(map(str, found))


def test_every_parameter_with_every_kind_of_nonsense(here: Installation) -> None:
    found = [
        (method, template, name, value[:40], problem)
        for method, template, operation in operations()
        for name in queries_of(operation)
        for value in TEXTS
        if (problem := wrong(here.send(method, here.path(template), query=f"{quote(name)}={quote(value, safe='')}")))
    ]
    assert found == [], "\n".join(map(str, found))


def test_every_address_with_every_kind_of_id(here: Installation) -> None:
    found = [
        (method, template, value[:40], problem)
        for method, template, _ in operations()
        if "{" in template
        for value in TEXTS
        if value not in ("", ".", "..")
        if (problem := wrong(here.send(method, re.sub(r"\{\w+\}", quote(value, safe=""), template))))
    ]
    assert found == [], "\n".join(map(str, found))


def test_every_operation_with_bodies_that_are_none(here: Installation) -> None:
    found = [
        (method, template, body[:40], kind, problem)
        for method, template, operation in operations()
        for body, kind in BODIES
        if (problem := wrong(here.send(method, here.path(template), body, content_type=kind)))
    ]
    assert found == [], "\n".join(map(str, found))


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_what_schemathesis_draws_from_the_schema(here: Installation, mode: schemathesis.GenerationMode) -> None:
    """Requests that the schema allows, and such that it does not, for each operation."""
    for result in schemathesis.openapi.from_dict(RAW).get_all_operations():
        _draw(here, result.ok(), mode)


def _draw(here: Installation, operation: Any, mode: schemathesis.GenerationMode) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

    @settings(max_examples=6, derandomize=True, deadline=None, database=None, suppress_health_check=checks)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        body = case.body if isinstance(case.body, dict | list | str | int | float | bool | None) else {}
        query = urlencode(case.query or {}, doseq=True, errors="replace")
        problem = wrong(here.send(case.method, here.path(case.path), body, query))
        assert problem == "", (case.method, case.path, query, body)

    # An operation without a field or a parameter has nothing that could be broken.
    with suppress(Unsatisfiable) if mode == schemathesis.GenerationMode.NEGATIVE else nullcontext():
        ask()


def test_options_are_answered_everywhere(here: Installation) -> None:
    for template in RAW["paths"]:
        answer = here.send("OPTIONS", here.path(template))
        if template in SESSION_ONLY:
            assert answer.status_code == 403
            continue
        assert answer.status_code == 200, (template, answer.content[:200])
        assert {method.upper() for method in RAW["paths"][template]} <= set(answer["Allow"].split(", "))
        assert answer.json()["description"]


def test_what_new_things_are_made_of_is_right(here: Installation) -> None:
    for template, body in BASES.items():
        answer = here.send("POST", template, body)
        assert answer.status_code in (200, 201), (template, answer.content)
