"""`--dry-run` and `sardeenz plans` against the real API over HTTP."""

import re
from typing import Any

import pytest

from models_app.models import Deployment, Plan, Replica
from models_app.states import Goal
from tests import factories
from tests.factories import GIB
from tests.sardeenz.cli.test_cli_fleet import run

__all__ = ("run",)

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_verb_says_what_it_would_do_and_does_nothing(run: Any) -> None:
    chat = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY))
    factories.gpu()
    before = Replica.objects.values().get()
    for words, said in {
        ("stop", "chat"): f"chat/{chat.pk} stops on GPU 0 of",
        ("sleep", "chat", "--level", "2"): f"chat/{chat.pk} sleeps at level 2",
        ("sleep", str(chat.pk)): "chat ends asleep",
        ("restart", "chat"): f"chat/{chat.pk} loads",
        ("move", "chat", "1"): "A new replica of chat loads on GPU 1",
        ("delete", "chat"): "chat is gone",
        ("deploy", "chat", "--replicas", "2"): "A new replica of chat loads on GPU 1",
        ("deploy", "code", "--model", "org/Code", "--weights", "16GiB"): "A new replica of code loads",
    }.items():
        shown = run(*words, "--dry-run")
        assert said in shown, shown
        assert "Nothing was done." in shown
    assert (Replica.objects.values().get(), Deployment.objects.count()) == (before, 1)


def test_a_refusal_ends_a_dry_run_with_status_1(run: Any) -> None:
    factories.gpu()
    factories.runtime()
    shown = run("deploy", "huge", "--model", "org/Huge", "--weights", "500GiB", "--dry-run", code=1)
    assert "never_fits" in shown


def test_a_plan_is_shown_and_applied_by_its_number(run: Any) -> None:
    chat = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY, weights_bytes=16 * GIB))
    found = re.search(r"plans apply (\d+)", run("sleep", "chat", "--dry-run"))
    assert found is not None
    assert "chat ends asleep" in run("plans", "show", found[1])
    run("plans", "apply", found[1])
    chat.refresh_from_db()
    assert chat.goal == Goal.SLEEPING
    assert "sleep chat" in run("plans", "list")
    assert "plan_applied" in run("plans", "apply", found[1], code=1)
    assert Plan.objects.count() == 1
