"""What speaks against an engine, seen of real processes and real sockets: refusals and steady 503s, never silence."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from gpus import processes
from gpus.installation import installation_id
from gpus.processes import EngineProcess
from models_app.engines.client import EngineClient
from models_app.errors import ConnectionRefused
from models_app.lifecycle import ending, launch, observe
from models_app.lifecycle.next_step import Seen
from models_app.lifecycle.observe import Remembered, World
from models_app.models import Replica
from models_app.states import State
from tests import factories
from tests.models_app.lifecycle.sights import sight
from tests.patience import free_port

pytestmark = pytest.mark.django_db

ASKED = sorted({State.READY, State.DRAINING, State.SLEEPING, State.WAKING})


@pytest.fixture
def serve() -> Iterator[Callable[[int], int]]:
    """A server whose /health answers this status; its port."""
    servers: list[HTTPServer] = []

    def start(status: int) -> int:
        class Engine(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/health" else 404)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Engine))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of observations on."""
    moved = [0.0]
    monkeypatch.setattr(observe.time, "monotonic", lambda real=time.monotonic: real() + moved[0])

    def move(seconds: float) -> None:
        moved[0] += seconds

    return move


def seen(replica: Replica, remembered: Remembered) -> Seen:
    engine = EngineProcess(replica.marker, os.getpid(), 0.0, (os.getpid(),), replica.url)
    return observe.look(replica, World({replica.marker: engine}, timezone.now()), remembered).seen


@pytest.mark.parametrize("state", ASKED)
def test_an_engine_that_accepts_no_connection_is_dead_after_a_moment(
    state: State, later: Callable[[float], None]
) -> None:
    replica, remembered = factories.replica(state, address="127.0.0.1", port=free_port()), Remembered()
    assert seen(replica, remembered).dead == ""
    later(observe.STEADY_SECONDS[observe.CONNECTION_REFUSED])
    assert seen(replica, remembered).dead == "connection_refused"


def test_one_that_still_loads_need_not_listen_yet(later: Callable[[float], None]) -> None:
    replica, remembered = factories.replica(State.STARTING, address="127.0.0.1", port=free_port()), Remembered()
    for _ in range(3):
        assert seen(replica, remembered).dead == ""
        later(600)


@pytest.mark.parametrize("state", [State.STARTING, *ASKED])
def test_a_steady_503_of_its_health_is_evidence_in_every_state(
    state: State, serve: Callable[[int], int], later: Callable[[float], None]
) -> None:
    replica, remembered = factories.replica(state, address="127.0.0.1", port=serve(503)), Remembered()
    assert seen(replica, remembered).dead == ""
    later(observe.STEADY_SECONDS[observe.UNHEALTHY])
    assert seen(replica, remembered).dead == "unhealthy"


def test_a_good_answer_in_between_wipes_the_slate(serve: Callable[[int], int], later: Callable[[float], None]) -> None:
    replica, remembered = factories.replica(State.SLEEPING, address="127.0.0.1", port=free_port()), Remembered()
    seen(replica, remembered)
    later(observe.STEADY_SECONDS[observe.CONNECTION_REFUSED])
    replica.port = serve(200)
    assert seen(replica, remembered).dead == ""
    assert remembered.doubts == {}


@pytest.mark.parametrize("state", [State.STARTING, *ASKED])
def test_silence_is_no_evidence(state: State, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "PROBE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        replica, remembered = factories.replica(state, address="127.0.0.1", port=mute.getsockname()[1]), Remembered()
        for _ in range(3):
            assert seen(replica, remembered).dead == ""
            later(600)


def test_a_refused_connection_is_told_from_other_failures() -> None:
    with pytest.raises(ConnectionRefused):
        EngineClient(f"http://127.0.0.1:{free_port()}", "key").health()


def test_a_server_process_that_left_children_behind_is_seen_to_be_gone(tmp_path: Path) -> None:
    script = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print(flush=True); time.sleep(60)"
    log = tmp_path / "engine.log"
    marker = processes.marker_of(installation_id(), 4711, 1)
    pid = processes.spawn([sys.executable, "-c", script], environment=dict(os.environ), log_path=log, marker=marker)
    try:
        _until(lambda: len(processes.find_all(installation_id())["4711:1"].pids) == 2)
        assert processes.find_all(installation_id())["4711:1"].led
        os.kill(pid, 9)
        _until(lambda: not processes.find_all(installation_id())["4711:1"].led)
    finally:
        processes.kill(processes.find_all(installation_id())["4711:1"])
        _until(lambda: processes.find_all(installation_id()) == {})
        processes.reap()


@pytest.mark.parametrize("reason", ["server_gone", "connection_refused", "unhealthy"])
def test_evidence_is_told_in_words_with_what_the_log_says(reason: str) -> None:
    replica = factories.replica(State.READY)
    assert ending.why(sight(replica), reason).code == reason
    log = launch.log_path(replica)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("RuntimeError: CUDA error: an illegal memory access was encountered\n")
    found = ending.why(sight(replica), reason)
    assert found.code == reason
    assert found.message.startswith("The engine")
    assert "illegal memory access" in found.hint
    log.unlink()


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
