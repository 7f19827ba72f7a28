"""/api/settings: what an installation was set up with, in words, without its secrets."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from models_app.catalogue import hub
from models_app.models import EngineRuntime
from sardeenz.options import table
from tests import factories

pytestmark = pytest.mark.django_db
README = (Path(__file__).resolve().parents[3] / "README.md").read_text()


def plain(cell: str) -> str:
    """A cell of a Markdown table without links and code marks."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cell).replace("`", "").strip()


def described() -> list[tuple[str, ...]]:
    """The README's table of variables."""
    rows = README.partition("| variable | default | meaning |")[2].partition("\n\n")[0].splitlines()[2:]
    return [tuple(plain(cell) for cell in row.strip("|").split("|")) for row in rows]


def asked(client: Client) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every variable by its name, and how the Hub is asked."""
    answer = client.get("/api/settings").json()
    options = {option["name"]: option for group in answer["groups"] for option in group["options"]}
    return options, answer["hub"]


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def test_the_readme_has_the_same_words() -> None:
    options = [option for group in table.groups() for option in group["options"]]
    told = [(option["name"], option["default"], option["meaning"]) for option in options]
    assert sorted(told) == sorted(described())
    assert all(option["meaning"] for option in options)


def test_whoever_is_signed_in_sees_what_is_set(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARDEENZ_GPU_HEADROOM", "3GiB")
    monkeypatch.delenv("SARDEENZ_DRAIN_SECONDS", raising=False)
    options, _ = asked(viewer)
    headroom, drain = options["SARDEENZ_GPU_HEADROOM"], options["SARDEENZ_DRAIN_SECONDS"]
    assert (headroom["is_set"], headroom["value"], headroom["default"]) == (True, "3GiB", "1GiB")
    assert (drain["is_set"], drain["value"], drain["default"]) == (False, None, "300")


def test_no_secret_is_told(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARDEENZ_SECRET_KEY", "the-key-itself")
    monkeypatch.setenv("SARDEENZ_REDIS_URL", "redis://:its-password@cache.example:6379/0")
    monkeypatch.setenv("HF_TOKEN", "hf_the_token")
    text = viewer.get("/api/settings").content.decode()
    options, asks = asked(viewer)
    assert not [word for word in ("the-key-itself", "its-password", "hf_the_token") if word in text]
    assert options["SARDEENZ_SECRET_KEY"]["is_set"] is True
    assert options["SARDEENZ_REDIS_URL"]["value"] == "redis://…@cache.example:6379/0"
    assert asks["token"] == "server"


@pytest.mark.parametrize(
    ("variables", "token", "sent"),
    [
        ({"HF_TOKEN": "hf_own"}, "runtime", {"authorization": "Bearer hf_own"}),
        ({"HF_TOKEN": "hf_own", "HF_ENDPOINT": "http://hub.example/"}, "runtime", {"authorization": "Bearer hf_own"}),
        ({"HF_TOKEN": "hf_mirror", "HF_ENDPOINT": "http://mirror.example"}, "none", {}),
        ({}, "none", {}),
    ],
)
def test_the_hub_is_asked_with_a_runtimes_token_where_the_server_has_none(
    viewer: Client, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], token: str, sent: dict[str, str]
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    EngineRuntime.objects.create(name="gpu", kind="vllm-cuda", executable="/opt/vllm", environment=variables)
    _, asks = asked(viewer)
    assert (asks["endpoint"], asks["token"]) == ("http://hub.example", token)
    assert hub._headers() == sent
