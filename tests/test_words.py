"""What people read: sizes in GiB and the names of the form, never a field's own name, a row's id or a raw byte."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from models_app.engines.diagnose import RULES
from models_app.engines.reserved import FLAGS
from tests import factories

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sardeenz", "gpus", "models_app", "gateway")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "simulator" not in path.parts]
FIELD = re.compile(r"\b(?:\w+_(?:bytes|seconds|enabled|args)|max_model_len|tensor_parallel|\{\w*\} bytes)\b")


def _said(tree: ast.Module) -> Iterator[str]:
    """The words of every error that is raised: its first argument, with {} where a value stands."""
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else None
        if isinstance(call, ast.Call) and call.args:
            text = call.args[0]
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_error_speaks_of_fields_or_bytes(path: Path) -> None:
    if path.relative_to(ROOT) == Path("gpus/kvcached.py"):
        pytest.skip("its ValueErrors are for programmers")
    assert [text for text in _said(ast.parse(path.read_text())) if FIELD.search(text)] == []


def test_hints_speak_of_the_form() -> None:
    texts = [text for rule in RULES for text in (rule.message, rule.hint)] + list(FLAGS.values())
    assert [text for text in texts if FIELD.search(text)] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/keys/17", "there is no API key 17"),
        ("/api/gpus/17", "there is no GPU 17"),
        ("/api/replicas/17", "there is no replica 17"),
        ("/api/runtimes/17", "there is no runtime 17"),
    ],
)
def test_what_is_not_there_is_named_as_people_name_it(client: Client, path: str, words: str) -> None:
    client.force_login(factories.user(is_staff=True))
    body = client.get(path).json()
    assert (body["code"], body["message"]) == ("not_found", words)


@pytest.mark.django_db
def test_a_wrong_field_is_named_as_on_the_form_and_keyed_as_in_the_request(client: Client) -> None:
    client.force_login(factories.user(is_staff=True))
    factories.runtime()
    given = {"name": "chat", "model": factories.model().pk, "kv_floor_bytes": 2, "kv_cap_bytes": 1}
    body = client.post("/api/deployments", given, content_type="application/json").json()
    assert body["message"] == "KV cap: must not be below the KV floor"
    assert list(body["fields"]) == ["kv_cap_bytes"]


@pytest.mark.django_db
def test_a_headroom_that_cannot_be_is_told_in_gib(client: Client) -> None:
    client.force_login(factories.user(is_staff=True))
    gpu = factories.gpu()
    given = {"headroom_bytes": 90 * factories.GIB}
    body = client.patch(f"/api/gpus/{gpu.pk}", given, content_type="application/json").json()
    assert body["message"] == "headroom: must be between 0 and the GPU's 80 GiB"
