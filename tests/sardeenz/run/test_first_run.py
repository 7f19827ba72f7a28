"""What a new installation gets, once."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from gateway.access import keys
from gpus.models import GPU
from models_app.models import EngineRuntime
from sardeenz.cli import config
from sardeenz.run import first_run, up

pytestmark = pytest.mark.django_db


def test_a_new_installation_gets_an_admin_keys_runtimes_and_gpus() -> None:
    made = first_run.prepare()
    assert made["password"]
    assert User.objects.get(is_superuser=True).check_password(made["password"])
    assert (keys.find(made["token"]) or pytest.fail("no key")).scopes == ["read", "manage"]
    assert (keys.find(made["api_key"]) or pytest.fail("no key")).scopes == ["inference"]
    assert EngineRuntime.objects.filter(kind="simulator").exists()
    assert GPU.objects.count() == 2


def test_a_second_start_changes_nothing() -> None:
    first = first_run.prepare()
    again = first_run.prepare(token=first["token"], api_key=first["api_key"])
    assert again == first | {"password": None, "new_api_key": False}


def test_keys_that_were_lost_are_made_anew() -> None:
    first = first_run.prepare()
    again = first_run.prepare(token="lost")
    assert again["token"] != first["token"]
    assert again["new_api_key"]


def test_the_admin_can_have_another_password() -> None:
    first_run.prepare()
    made = first_run.prepare(new_password=True)
    assert User.objects.get(username=made["username"]).check_password(str(made["password"]))


def test_an_admin_of_another_name_is_enough() -> None:
    User.objects.create_superuser("root", password="pw")
    assert first_run.prepare()["password"] is None


def test_a_machine_that_is_no_node_adds_no_gpus() -> None:
    assert first_run.prepare(node=False)["simulated"] is None
    assert not GPU.objects.exists()


def test_a_new_password_leaves_the_addresses_of_what_runs(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another terminal knows nothing of the ports that the installation was started with."""
    settings.DATA_DIR = tmp_path
    made = {"username": "admin", "password": "pw", "token": "t", "api_key": "k"}
    monkeypatch.setattr(up, "_manage", lambda *args, **options: json.dumps(made))
    monkeypatch.setattr(up.forks, "preload", lambda: None)
    config.save(tmp_path, config.Config(url="http://127.0.0.1:9000", gateway_url="http://127.0.0.1:9001"))
    up.password()
    known = config.load(tmp_path)
    assert (known.url, known.gateway_url, known.token) == ("http://127.0.0.1:9000", "http://127.0.0.1:9001", "t")
