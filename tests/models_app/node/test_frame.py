"""A node's frame holds its engines: they answer for themselves, or are unknown."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import LazySettings

from gpus import devices, processes
from gpus.installation import installation_id
from gpus.readings import DeviceProcess
from models_app.node import frame
from models_app.node.frame import EngineFrame
from tests.patience import until

ENGINE = """
import http.server, sys
class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(b'vllm:num_requests_running{engine="0"} 2.0\\nvllm:num_requests_waiting{engine="0"} 1.0\\n')
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Metrics).serve_forever()
"""


@pytest.fixture(autouse=True)
def _own_installation(settings: LazySettings) -> Iterator[None]:
    settings.SECRET_KEY = uuid4().hex
    yield
    for engine in processes.find_all(installation_id()).values():
        processes.kill(engine)
    until(lambda: processes.reap() is not None and not processes.find_all(installation_id()))


def start(log: Path, *argv: str, **environment: str) -> int:
    marker = processes.marker_of(installation_id(), 7, 2)
    pid = processes.spawn(argv, environment=environment, log_path=log, marker=marker)
    until(lambda: processes.find_all(installation_id()))
    return pid


def only_engine() -> EngineFrame:
    (engine,) = frame.collect()["engines"]
    return engine


def test_an_engine_that_answers_has_numbers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = (sys.executable, "-c", ENGINE, str(port))
    pid = start(tmp_path / "log", *argv, SARDEENZ_ENGINE_URL=f"http://127.0.0.1:{port}")
    engine = until(lambda: (found := only_engine())["running"] is not None and found)
    assert (engine["marker"], engine["replica_id"], engine["generation"], engine["pid"]) == ("7:2", 7, 2, pid)
    assert (engine["running"], engine["waiting"]) == (2, 1)
    assert (engine["sleeping"], engine["prompt_tokens"]) == (None, None)


def test_an_engine_that_does_not_answer_is_there_with_unknown_numbers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        start(tmp_path / "log", "sleep", "600", SARDEENZ_ENGINE_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        engine = only_engine()
    assert (engine["marker"], engine["running"], engine["sleeping"]) == ("7:2", None, None)


def test_memory_on_a_device_is_attributed_through_the_process_list(tmp_path: Path) -> None:
    pid = start(tmp_path / "log", "sh", "-c", "sleep 600 & wait")
    engine = until(lambda: (e := processes.find_all(installation_id())["7:2"]) and len(e.pids) == 2 and e)
    child = next(other for other in engine.pids if other != pid)
    first, second = devices.read_all()
    mine = (DeviceProcess(pid, 10), DeviceProcess(child, 5), DeviceProcess(1, 99))
    readings = [replace(first, processes=mine), replace(second, processes=(DeviceProcess(child, None),))]
    now = frame.collect(readings)
    assert now["engines"][0]["memory_bytes"] == {first.uuid: 15, second.uuid: None}
    assert [process["marker"] for process in now["gpus"][0]["processes"]] == ["7:2", "7:2", None]


@pytest.mark.parametrize(
    ("then", "now", "rate"), [(100, 350, 125.0), (100, 100, 0.0), (100, 40, None), (None, 40, None), (100, None, None)]
)
def test_a_rate_is_what_was_generated_between_two_frames(then: int | None, now: int | None, rate: float | None) -> None:
    before, after = (
        {"seq": seq, "engines": [{"marker": "7:2", "generation_tokens": count, "tokens_per_second": None}]}
        for seq, count in ((1000, then), (3000, now))
    )
    (engine,) = frame.add_rates(after, before)["engines"]  # type: ignore[arg-type]
    assert engine["tokens_per_second"] == rate
