"""Load with whole JSON answers: wrk for as many as possible, a blocking socket for how long one takes."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httptools

from tests.bench.gateway.client import address, body
from tests.bench.gateway.machine import NotMeasured, Watch

CONNECTIONS = 32
PROMPT = "What is the use of a gateway? " * 10
_SCRIPT = """
wrk.method = "POST"
wrk.body = [==[{body}]==]
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {key}"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{{"answers":%d,"microseconds":%d,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}}\\n',
    summary.requests, summary.duration, e.status, e.connect, e.read, e.write, e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """Good answers and the rest. wrk counts a status above 399 as an error; what else is not a 200 is found before."""

    good: int
    failures: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.good / self.seconds


def wrk_version() -> str:
    """Of the wrk on the path; NotMeasured without one."""
    if shutil.which("wrk") is None:
        raise NotMeasured("wrk is not installed: apt-get install wrk")
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).split("\n", 1)[0].split(" Copyright")[0].strip()


def rate(port: int, key: str, watch: Watch, *, seconds: int, cores: Sequence[int], place: Path) -> Rate:
    """As many requests as CONNECTIONS connections get through."""
    asked = body(prompt=PROMPT, max_tokens=64).decode()
    script = place / "post.lua"
    script.write_text(_SCRIPT.format(body=asked, key=key))
    pinned = ["taskset", "-c", ",".join(map(str, cores))]
    argv = [*pinned, "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "10s"]
    watch.begin()
    said = subprocess.run(
        [*argv, "-s", str(script), f"http://127.0.0.1:{port}/v1/chat/completions"],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    )
    watch.end()
    found = json.loads(said.stdout.strip().splitlines()[-1])
    failures = sum(found[name] for name in ("status", "connect", "read", "write", "timeout"))
    return Rate(found["answers"] - found["status"], failures, found["microseconds"] / 1e6)


def latencies(port: int, key: str, *, seconds: float) -> tuple[list[float], int]:
    """Seconds each of one request after the other took on one connection, and how many failed."""
    data = address(port, key).request(body(prompt=PROMPT, max_tokens=64))
    taken: list[float] = []
    failures = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.monotonic() < until:
                began = time.perf_counter()
                client.sendall(data)
                if not _answered(client):
                    failures += 1
                    break
                taken.append(time.perf_counter() - began)
    return taken, failures


def _answered(client: socket.socket) -> bool:
    """Read one answer to its end; False unless it is a 200."""
    message = _Message()
    parser = httptools.HttpResponseParser(message)
    try:
        while not message.complete:
            data = client.recv(65536)
            if not data:
                return False
            parser.feed_data(data)
    except (OSError, httptools.HttpParserError):
        return False
    return bool(parser.get_status_code() == 200)


class _Message:
    complete = False

    def on_message_complete(self) -> None:
        self.complete = True
