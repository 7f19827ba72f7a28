"""The whole of Sardeenz on a GPU: `sardeenz up`, two models, and what its users would notice.

    python3 -m tests.gpu.whole --model 8b --runtime vllm-cuda --out /tmp/whole -- --enforce-eager

What follows `--` goes to every engine, and so does every VLLM_ variable. Databases and state are made in the folder
and ended with everything else; the rows are those of `tests.gpu.acceptance`. With `--runtime simulator` it rehearses
anywhere.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gpu.acceptance import about_machine, vllm_version
from tests.gpu.client import CallFailed, Client
from tests.gpu.points import BASELINE_TOLERANCE_BYTES, compare
from tests.gpu.report import Report
from tests.gpu.rig import GIB, Failed, Settings


@dataclass(slots=True)
class Platform:
    """A running installation, seen from outside."""

    data: Path
    process: subprocess.Popen[bytes]
    start_seconds: float
    url: str = ""
    gateway_url: str = ""
    token: str = ""
    api_key: str = ""

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call of the REST API."""
        answer = Client(self.url, self.token, "").call(method, f"/api/{path}", body)
        return json.loads(answer) if answer else None

    def replica(self, deployment: str) -> dict[str, Any]:
        """The deployment's only replica."""
        rows = self.api("GET", "replicas?limit=100")["results"]
        (found,) = [row for row in rows if row["deployment_name"] == deployment]
        return dict(found)

    def wait(self, deployment: str, state: str, seconds: float) -> float:
        """Until its replica is in `state`; the seconds it took. Raises Failed with what the platform says."""
        began = time.monotonic()
        while (row := self.replica(deployment))["state"] != state:
            if row["state"] == "failed" and not row["restart_at"]:
                raise Failed(f"{deployment}: {row['reason']}: {row['message']}")
            if time.monotonic() - began > seconds:
                raise Failed(f"{deployment} is {row['state']} after {seconds:g} s, not {state}: {row['message']}")
            time.sleep(0.05)
        return time.monotonic() - began

    def used_bytes(self) -> int:
        """The device's memory in use, once three frames of telemetry in a row agree."""
        seen: list[int] = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (len(seen) < 3 or max(seen[-3:]) - min(seen[-3:]) > 2**21):
            time.sleep(1.1)
            seen.append(int(self.gpu()["memory_used_bytes"]))
        return seen[-1]

    def gpu(self) -> dict[str, Any]:
        """The newest frame's only GPU."""
        return dict(self.api("GET", "telemetry")[0]["gpus"][0])

    def model(self, name: str) -> Client:
        """A model through the gateway."""
        return Client(self.gateway_url, self.api_key, name)

    def engine(self, deployment: str) -> tuple[int, Client]:
        """The engine's process and a way to it past the gateway."""
        row = self.replica(deployment)
        (frame,) = self.api("GET", "telemetry")
        (engine,) = [each for each in frame["engines"] if each["replica_id"] == row["id"]]
        environment = Path(f"/proc/{engine['pid']}/environ").read_bytes().decode(errors="replace").split("\0")
        variables = dict(entry.partition("=")[::2] for entry in environment)
        client = Client(variables["SARDEENZ_ENGINE_URL"], variables["VLLM_API_KEY"], row["served_name"])
        return int(engine["pid"]), client


def main(argv: list[str]) -> int:
    """Run everything; 1 when something did not pass."""
    at = argv.index("--") if "--" in argv else len(argv)
    values, extra = _parser().parse_args(argv[:at]), argv[at + 1 :]
    values.out.mkdir(parents=True, exist_ok=True)
    simulated = values.runtime == "simulator"
    version = "none" if simulated else vllm_version()
    report = Report(about_machine(simulated=simulated, model=values.model, version=version))
    try:
        with _up(values) as platform:
            _look(platform, report, values, extra)
    except (Failed, CallFailed, OSError, ValueError, LookupError) as error:
        report.add("8", "went wrong", type(error).__name__, ok=False, note=str(error)[-1500:])
    report.write(values.out, "whole")
    print(report.markdown())
    return 1 if report.failures else 0


def _look(platform: Platform, report: Report, values: argparse.Namespace, extra: list[str]) -> None:
    settings = Settings(out=values.out, model=values.model, requests=values.requests, tokens=values.tokens)
    report.add("8", "up: from nothing to an answer", platform.start_seconds, "s")
    empty = platform.used_bytes()
    report.add("8", "deploy: to ready", _deploy(platform, "alpha", values, extra), "s")
    _ledger(platform, report, empty)
    compare(settings, report, platform.engine("alpha")[1], platform.model("alpha"))
    report.write(values.out, "whole")
    _neighbour(platform, report, values, extra)
    _sleep(platform, report)
    report.write(values.out, "whole")
    _kill(platform, report, values.seconds)
    _empty(platform, report, empty, values.seconds)


def _deploy(platform: Platform, name: str, values: argparse.Namespace, extra: list[str]) -> float:
    known = [row["id"] for row in platform.api("GET", "models?limit=100")["results"] if row["name"] == "made"]
    number = known[0] if known else platform.api("POST", "models", {"name": "made", "source": values.model})["id"]
    body = {"name": name, "model": number, "runtime": values.runtime, "extra_args": extra, "max_model_len": 8192}
    body |= {"kv_cap_bytes": 16 * GIB, "kv_floor_bytes": GIB}
    body["environment"] = {name: value for name, value in os.environ.items() if name.startswith("VLLM_")}
    body |= {"weights_bytes": 16 * GIB} if values.runtime == "simulator" else {}
    made = platform.api("POST", "deployments", body)
    platform.api("POST", f"deployments/{made['id']}/deploy", {})
    return platform.wait(name, "ready", values.seconds)


def _ledger(platform: Platform, report: Report, empty: int) -> None:
    """What is reserved for a ready replica against what the device says that it holds."""
    row, moved = platform.replica("alpha"), platform.used_bytes() - empty
    reserved = sum(each["held_bytes"] for each in row["reservations"])
    for name in ("weights_bytes", "overhead_bytes"):
        report.add("8", f"replica: {name.removesuffix('_bytes')}, by now", row[name], "bytes")
    report.add("8", "replica: reserved", reserved, "bytes", note=f"profile: {json.dumps(row['profile'])[:300]}")
    report.add("8", "device moved", moved, "bytes", ok=moved <= reserved, note="no more than what is reserved")


def _neighbour(platform: Platform, report: Report, values: argparse.Namespace, extra: list[str]) -> None:
    """Gaps between the tokens of one stream after the other, alone and while another model loads beside it."""
    before = _gaps(platform.model("alpha"), threading.Event(), rounds=3)
    enough = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(_gaps, platform.model("alpha"), enough, rounds=10_000)
        try:
            report.add("8", "deploy beside it: to ready", _deploy(platform, "beta", values, extra), "s")
        finally:
            enough.set()
        during = beside.result(120)
    for name, gaps in (("alone", before), ("while a neighbour loads", during)):
        cuts = statistics.quantiles(gaps, n=100, method="inclusive")
        report.add("8", f"gap between tokens, {name}: p50", cuts[49], "s", note=f"{len(gaps)} gaps")
        report.add("8", f"gap between tokens, {name}: p99", cuts[98], "s")
        report.add("8", f"gap between tokens, {name}: most", max(gaps), "s")


def _gaps(client: Client, enough: threading.Event, *, rounds: int) -> list[float]:
    found: list[float] = []
    for _ in range(rounds):
        stream = client.chat("Tell me about tins.", 200)
        if not stream.finished:
            raise Failed("a stream broke off")
        found += stream.gaps
        if enough.is_set():
            break
    return found


def _sleep(platform: Platform, report: Report) -> None:
    """Asleep by the platform, awake by a request."""
    row, awake = platform.replica("alpha"), platform.used_bytes()
    first = platform.model("alpha").complete("The quick brown fox", 8)["choices"][0]["text"]
    platform.api("POST", f"replicas/{row['id']}/sleep", {"level": 1})
    report.add("8", "sleep: until it sleeps", platform.wait("alpha", "sleeping", 120), "s")
    report.add("8", "sleep: freed on the device", awake - platform.used_bytes(), "bytes")
    held = sum(each["held_bytes"] for each in platform.replica("alpha")["reservations"])
    report.add("8", "sleep: still reserved", held, "bytes")
    woken = platform.model("alpha").chat("Are you awake?", 8)
    report.add("8", "a request wakes it: first token", woken.first_token_seconds, "s", ok=woken.finished)
    platform.wait("alpha", "ready", 60)
    again = platform.model("alpha").complete("The quick brown fox", 8)["choices"][0]["text"]
    report.add("8", "the same answer after the wake", again == first, ok=again == first)


def _kill(platform: Platform, report: Report, seconds: float) -> None:
    """An engine dies in the middle of a stream: the stream ends, the neighbour goes on, the engine comes back."""
    pid, _ = platform.engine("beta")
    with ThreadPoolExecutor(2) as pool:
        cut = pool.submit(platform.model("beta").chat, "Tell me a long story.", 3000)
        time.sleep(2)
        beside = pool.submit(platform.model("alpha").chat, "Tell me another.", 400)
        os.killpg(pid, signal.SIGKILL)
        began = time.monotonic()
        said, other = cut.result(120), beside.result(120)
    report.add("8", "kill -9: its stream ended early", not said.finished, ok=not said.finished and said.tokens > 1)
    report.add("8", "kill -9: the neighbour's stream ended well", other.finished, ok=other.finished)
    held = platform.model("beta").chat("Are you back?", 4, timeout_seconds=seconds)
    took = time.monotonic() - began
    report.add("8", "kill -9: a request made at once is answered after", took, "s", ok=held.finished)


def _empty(platform: Platform, report: Report, empty: int, seconds: float) -> None:
    """Both deployments deleted: the device is as it was."""
    for row in platform.api("GET", "deployments?limit=100")["results"]:
        platform.api("DELETE", f"deployments/{row['id']}")
    deadline = time.monotonic() + seconds
    while platform.api("GET", "deployments?limit=100")["results"] and time.monotonic() < deadline:
        time.sleep(0.2)
    more = platform.used_bytes() - empty
    report.add("8", "all deleted: memory above what it was", more, "bytes", ok=more <= BASELINE_TOLERANCE_BYTES)


@contextmanager
def _up(values: argparse.Namespace) -> Iterator[Platform]:
    """An installation of its own under the output folder, ended afterwards with its engines."""
    data = (values.data or values.out / "data").resolve()
    environment = {**os.environ, "SARDEENZ_DATA_DIR": str(data)}
    began = time.monotonic()
    with open(values.out / "up.log", "wb") as log:
        process = subprocess.Popen(
            [values.sardeenz, "up"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    platform = Platform(data, process, 0.0)
    try:
        _wait_answers(platform, values.seconds, lambda: (values.out / "up.log").read_text(errors="replace"))
        platform.start_seconds = time.monotonic() - began
        yield platform
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_answers(platform: Platform, seconds: float, log: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if platform.process.poll() is not None:
            break
        try:
            saved = json.loads((platform.data / "cli.json").read_text())
            platform.url, platform.gateway_url = saved["url"], saved["gateway_url"]
            platform.token, platform.api_key = saved["token"], saved["api_key"]
            platform.api("GET", "telemetry")[0]["gpus"][0]
            platform.model("").call("GET", "/v1/models")
            return
        except (OSError, ValueError, LookupError, CallFailed):
            time.sleep(0.2)
    raise Failed(f"Sardeenz does not answer:\n{log()[-1200:]}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.gpu.whole", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the results, logs and the installation")
    parser.add_argument("--data", type=Path, help="the installation's own folder, if not within --out")
    parser.add_argument("--sardeenz", default=".venv/bin/sardeenz")
    parser.add_argument("--model", default="made/8b", help="folder in SARDEENZ_MODELS_DIR, or hub id")
    parser.add_argument("--runtime", default="vllm-cuda", help="vllm-cuda or simulator")
    parser.add_argument("--seconds", type=float, default=300, help="for a start of an engine, or of everything")
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
