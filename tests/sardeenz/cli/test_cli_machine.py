"""Maintenance of GPUs from the command line against the real API over HTTP."""

from typing import Any

import pytest

from gpus.models import GPU
from models_app.states import Goal
from tests import factories
from tests.factories import GIB
from tests.sardeenz.cli.test_cli_fleet import line_of, run

__all__ = ("run",)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_gpu_is_cordoned_shown_and_opened_again(run: Any) -> None:
    gpu = factories.gpu()
    shown = run("gpu", "cordon", "0", "-m", "new fan")
    assert f"GPU 0 ({gpu.uuid}) is cordoned by key:" in shown
    assert "(new fan)" in shown
    assert "(cordoned: new fan)" in " ".join(line_of(run("gpus"), gpu.node.name))
    factories.runtime()
    said = run("deploy", "chat", "--model", "org/Chat", "--weights", "16GiB", "--gpu", "0", code=1)
    assert "(gpu_cordoned)" in said
    assert f"`sardeenz gpu uncordon {gpu.node.name}/0` ends that" in said
    assert f"GPU 0 ({gpu.uuid}) takes new replicas" in run("gpu", "uncordon", f"{gpu.node.name}/0")
    assert GPU.objects.get().enabled


def test_a_drain_says_what_it_would_do_and_then_who_goes_and_who_stays(run: Any) -> None:
    here = factories.gpu()
    factories.gpu()
    chat = factories.replica(deployment=factories.deployment(name="chat", goal=Goal.READY), gpu=here)
    wide = factories.deployment(name="wide", goal=Goal.READY, weights_bytes=79 * GIB)
    stuck = factories.replica(deployment=wide, gpu=here)
    shown = run("gpu", "drain", "0", "--dry-run")
    assert "A new replica of chat loads on GPU 1" in shown
    assert f"wide/{stuck.pk} stays" in shown
    assert "Nothing was done." in shown
    assert GPU.objects.filter(enabled=True).count() == 2
    done = run("gpu", "drain", "--node", here.node.name, "-m", "new driver")
    assert done.count("is emptied") >= 3
    assert f"chat/{chat.pk} is ready" in done
    assert "(new driver), and no other GPU takes it" in done
    assert "drain" in run("plans", "list")
    run("gpu", "uncordon", "--node", here.node.name)
    assert GPU.objects.filter(enabled=True, drain="").count() == 2


def test_one_gpu_or_one_node_is_named(run: Any) -> None:
    assert "name one GPU, or a node with --node" in run("gpu", "cordon", code=1)
    assert "there is no GPU" in run("gpu", "drain", "9", code=1)
