"""Faults on demand."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from models_app.engines import diagnose
from tests.contract.engines import ROOT, Engine
from tests.contract.sse import chat
from tests.patience import until
from tests.simulator.conftest import Start


def _answer(client: httpx2.Client) -> str:
    body = chat("a canary", max_tokens=8)
    return str(client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"])


def _hangs(engine: Engine, method: str, path: str, **more: object) -> bool:
    with engine.client() as client:
        try:
            client.request(method, path, timeout=0.5, **more)  # type: ignore[arg-type]
        except httpx2.ReadTimeout:
            return True
    return False


def test_garbage_after_a_wake_is_not_the_answer_from_before(start: Start) -> None:
    with start("--garbage-after-wake") as engine, engine.client() as client:
        before = _answer(client)
        assert _answer(client) == before
        client.post("/sleep?level=1")
        client.post("/wake_up")
        assert _answer(client) != before


def test_level_two_needs_its_weights_again(start: Start) -> None:
    with start() as engine, engine.client() as client:
        before = _answer(client)
        client.post("/sleep?level=2")
        client.post("/wake_up?tags=weights")
        client.post("/wake_up?tags=kv_cache")
        assert _answer(client) != before
        client.post("/collective_rpc", json={"method": "reload_weights"}).raise_for_status()
        assert _answer(client) == before


def test_level_one_keeps_its_weights(start: Start) -> None:
    with start() as engine, engine.client() as client:
        before = _answer(client)
        client.post("/sleep?level=1")
        client.post("/wake_up")
        assert _answer(client) == before


def test_a_crash_comes_when_told_and_says_why(start: Start) -> None:
    with start("--crash-after", "0.3") as engine:
        assert engine.process.wait(30) == 1
        assert diagnose.diagnose(engine.lines(), 1).message


def test_sigterm_can_be_ignored(start: Start) -> None:
    with start("--ignore-sigterm") as engine, engine.client() as client:
        engine.process.send_signal(signal.SIGTERM)
        assert _answer(client)
        assert engine.process.poll() is None


def test_without_a_shutdown_timeout_sigterm_cuts_what_runs(start: Start) -> None:
    body = chat("a story", max_tokens=1900, ignore_eos=True, stream=True)
    with start("--shutdown-timeout", "0") as engine, engine.client() as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            engine.process.send_signal(signal.SIGTERM)
            assert '"finish_reason":"abort"' in "".join(lines)
        assert engine.process.wait(30) == 0


def test_while_it_drains_new_requests_are_refused(start: Start) -> None:
    body = chat("a story", max_tokens=300, ignore_eos=True, stream=True)
    with (
        start() as engine,
        engine.client() as other,
        engine.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        engine.process.send_signal(signal.SIGTERM)
        until(lambda: other.post("/v1/completions", json={"prompt": "a"}).status_code == 500, "new ones are refused")
        assert httpx2.get(f"{engine.url}/health").status_code == 200  # after a 500 the connection is closed
        assert "[DONE]" in "".join(lines)


@pytest.mark.parametrize(("what", "path"), [("sleep", "/sleep"), ("wake", "/wake_up")])
def test_sleeping_and_waking_can_hang(start: Start, what: str, path: str) -> None:
    with start("--hang", what) as engine, engine.client() as client:
        assert _hangs(engine, "POST", path)
        assert client.get("/health").status_code == 200


def test_generation_can_hang_while_health_is_well(start: Start) -> None:
    with start("--hang", "generate") as engine, engine.client() as client:
        assert _hangs(engine, "POST", "/v1/chat/completions", json=chat("hello"))
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("why", ["oom", "missing", "arch"])
def test_a_load_can_fail_for_a_reason_that_is_understood(tmp_path: Path, why: str) -> None:
    ended = _run("--fail-load", why, "--load-seconds", "0")
    assert ended.returncode == 1
    known = diagnose.diagnose(ended.stdout.splitlines(), ended.returncode)
    assert known.code != diagnose.diagnose([], 1).code


def test_flags_it_does_not_know_are_named_in_the_log(start: Start) -> None:
    with start("--enable-chunked-prefill", "--long-prefill-token-threshold", "512") as engine:
        assert any("--long-prefill-token-threshold 512" in line for line in engine.lines())


def test_a_flag_that_makes_no_sense_ends_it_as_argparse_does() -> None:
    ended = _run("--max-model-len", "plenty")
    assert ended.returncode == 2
    assert "argument --max-model-len" in ended.stderr


def _run(*flags: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "models_app.engines.simulator", "serve", "lab-model", "--port", "1", *flags]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
