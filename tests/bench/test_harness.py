"""The gateway's benchmark works: everything real, but short. What it measures here is nobody's business."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.gateway import client, engine, whole
from tests.bench.gateway.contestants import DIRECT, OURS, Contestant, wait
from tests.bench.gateway.machine import Cores, NotMeasured, Program, Watch
from tests.bench.gateway.ours import ROOT
from tests.bench.gateway.report import MIB
from tests.bench.gateway.streams import Soak
from tests.patience import free_port

CORE = sorted(os.sched_getaffinity(0))[:1]
HERE = Cores(tuple(CORE), tuple(CORE))
has_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers 503, and a stream with one chunk and no end."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if b'"stream": true' in body:
            self.wfile.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            self.wfile.write(engine.BEFORE + b"0" * 19 + engine.AFTER)
            self.close_connection = True
        else:
            self.wfile.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of a server that never gives a good answer."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_a_short_run_measures_the_engine_and_ours(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    rounds = 1 if shutil.which("wrk") else 0
    words = ["--without-nginx", "--rounds", str(rounds), "--seconds", "1", "--out", str(out)]
    words += ["--streams", "4", "--streams-seconds", "0.5", "--soak", "2", "--soak-growth", "1000"]
    argv = [sys.executable, "-m", "tests.bench.gateway", *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    assert f"| {OURS}" in done.stdout
    found = json.loads(out.read_text())
    assert [sample["contestant"] for sample in found["samples"]] == [DIRECT, OURS] * rounds
    for sample in found["samples"]:
        assert sample["requests"] > 0
        assert sample["chunks_per_second"] > 0
        assert sample["p50_seconds"] < sample["p99_seconds"]
        assert sample["delay_p50_seconds"] > 0
    assert [(each["streams"], each["failures"]) for each in found["streams"]] == [(4, 0), (4, 0), (8, 0)]
    assert found["soak"]["answers"] > 0
    assert found["soak"]["left"] > 0
    assert found["soak"]["failures"] == 0


@has_wrk
def test_an_error_reply_is_a_failure_not_a_request(refusing: int, tmp_path: Path) -> None:
    rate = whole.rate(refusing, "key", Watch((), HERE), seconds=1, cores=CORE, place=tmp_path)
    assert rate.good == 0
    assert rate.failures > 0


def test_an_error_reply_has_no_latency(refusing: int) -> None:
    taken, failures = whole.latencies(refusing, "key", seconds=0.2)
    assert taken == []
    assert failures > 0


async def test_a_stream_that_breaks_off_is_a_failure(refusing: int) -> None:
    watch = Watch((), HERE)
    tally = await client.paced(refusing, "key", watch, streams=3, pace=20, seconds=0.2, ramp_seconds=0.1)
    assert (tally.ended, tally.failures, len(tally.ttfts)) == (3, 3, 0)


async def test_nobody_listening_is_a_failure() -> None:
    tally = await client.throughput(free_port(), "key", Watch((), HERE), seconds=0.2, connections=2)
    assert tally.failures > 0
    assert tally.chunks == 0


def test_a_contestant_that_does_not_start_is_not_measured(tmp_path: Path) -> None:
    argv = ["sh", "-c", "echo no such option; exit 2"]
    with Program(argv, cores=CORE, log=tmp_path / "log") as program:
        contestant = Contestant("broken", "1", free_port(), "key", (program,), HERE)
        with pytest.raises(NotMeasured, match="no such option"):
            wait(contestant)


def test_the_engine_says_what_it_is_said_to_say() -> None:
    body = engine.ANSWER.split(b"\r\n\r\n", 1)[1]
    assert len(body) == engine.ANSWER_BYTES
    assert json.loads(body)["usage"]["completion_tokens"] == 42
    chunk = (engine.BEFORE + b"0" * 19 + engine.AFTER).split(b"\r\n", 1)[1].removesuffix(b"\r\n")
    assert len(chunk) >= engine.CHUNK_BYTES
    assert json.loads(chunk.removeprefix(b"data: "))["choices"][0]["delta"]["content"] == "0" * 19


@pytest.mark.parametrize("mib_per_second", [0, 1])
def test_growth_is_what_came_after_the_warm_up(mib_per_second: int) -> None:
    samples = [
        (float(second), (100 if second > 10 else second) * MIB + second * mib_per_second * MIB) for second in range(100)
    ]
    soak = Soak(100.0, samples=samples)
    assert soak.bytes_per_hour == pytest.approx(3600 * mib_per_second * MIB)
    assert soak.growth_bytes == pytest.approx(72 * mib_per_second * MIB)
