"""Three models of which two fit, and a published trace of calls for all of them: who waits how long for a first token.

`make bench-contention BENCH_ARGS="--trace FILE"` replays `offset_ms,model,prompt_tokens,max_tokens,priority` against an
installation of its own on one simulated GPU of 32 GiB. `--against DIR` replays it against another checkout too, one
after the other, and prints the ratios. `--priorities` asks with a key of a team per priority; without it all are equal.
"""

import argparse
import asyncio
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.bench.footprint import ROOT, Up

GIB = 2**30
LARGE, SMALL = 11 * GIB, 8 * GIB
SIZES = {"coder-14b": LARGE}
"""Weights by model; every other one is small."""
ENGINE = ["--wake-seconds", "2.5", "--sleep-seconds", "1", "--load-seconds", "45", "--tokens-per-second", "40"]
ENGINE += ["--ttft-seconds", "0.15"]
TEAMS = {"high": -1, "mid": 0, "low": 1}
PARTS = (0.5, 0.95, 0.99)
GPU = "simulated:1x32GiB"
READY_SECONDS = 300.0
ANSWER_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the trace."""

    at: float
    model: str
    prompt_tokens: int
    max_tokens: int
    priority: str


@dataclass(slots=True)
class Answer:
    """What became of it: seconds to the first token; None where there was none."""

    call: Call
    first: float | None = None
    error: str = ""


def read(path: Path) -> list[Call]:
    """The trace, in order of arrival."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    calls = [
        Call(
            int(line["offset_ms"]) / 1000,
            line["model"],
            int(line["prompt_tokens"]),
            int(line["max_tokens"]),
            line.get("priority") or "mid",
        )
        for line in lines
    ]
    return sorted(calls, key=lambda call: call.at)


class Installation:
    """One `sardeenz up`, its REST API, and a key per priority."""

    def __init__(self, tree: Path, data_dir: Path) -> None:
        self.up = Up(tree, data_dir, 1, gpu=GPU)
        saved = json.loads((data_dir / "cli.json").read_text())
        self.api = httpx2.Client(base_url=f"{saved['url']}/api/", headers={"Authorization": f"Bearer {saved['token']}"})
        self.gateway = f"http://127.0.0.1:{self.up.environment['SARDEENZ_GATEWAY_PORT']}/v1"
        self.keys: dict[str, str] = {}

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """One call of the REST API; a refusal is an error of the bench."""
        answer = self.api.request(method, path, json=body or None, timeout=60)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def prepare(self, models: list[str], *, priorities: bool) -> None:
        """Deploy every model; the last one to load finds no room and is put to sleep beforehand."""
        for team, priority in TEAMS.items():
            number = self.ask("POST", "teams", name=team, priority=priority if priorities else 0)["id"]
            self.keys[team] = self.ask("POST", "keys", name=team, team=number, scopes=["inference"])["key"]
        for model in models:
            sizes = {"weights_bytes": SIZES.get(model, SMALL), "overhead_bytes": 2 * GIB, "kv_floor_bytes": GIB // 4}
            made = self.ask(
                "POST",
                "deployments",
                name=model,
                source=f"bench/{model}",
                runtime="simulator",
                extra_args=ENGINE,
                kv_cap_bytes=6 * GIB,
                deploy=True,
                **sizes,
            )
            replica = self._ready(made["id"])
            if model != models[-1]:
                self.ask("POST", f"replicas/{replica}/sleep")
                self._until(replica, "sleeping")

    def _ready(self, deployment: int) -> int:
        for _ in range(100):
            rows = [row for row in self.ask("GET", "replicas")["results"] if row["deployment"] == deployment]
            if rows:
                return self._until(rows[0]["id"], "ready")
            time.sleep(0.2)
        raise RuntimeError("it was not placed")

    def _until(self, replica: int, state: str) -> int:
        began = time.monotonic()
        while (row := self.ask("GET", f"replicas/{replica}"))["state"] != state:
            if time.monotonic() - began > READY_SECONDS:
                raise RuntimeError(f"not {state}: {row}")
            time.sleep(0.2)
        return replica

    def wakes(self) -> int:
        """How often an engine was woken since the start."""
        count, path = 0, "transitions?limit=500"
        while path:
            page = self.ask("GET", path)
            count += sum(row["new"] == "waking" for row in page["results"])
            path = (page.get("next") or "").partition("/api/")[2]
        return count


async def replay(installation: Installation, calls: list[Call]) -> list[Answer]:
    """Every call at its time, whatever became of the others."""
    began = time.monotonic()
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx2.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS, limits=limits) as client:

        async def one(call: Call) -> Answer:
            await asyncio.sleep(max(began + call.at - time.monotonic(), 0))
            return await _ask(client, installation, call)

        return await asyncio.gather(*(one(call) for call in calls))


async def _ask(client: httpx2.AsyncClient, installation: Installation, call: Call) -> Answer:
    answer, began = Answer(call), time.monotonic()
    body = {
        "model": call.model,
        "prompt": "word " * call.prompt_tokens,
        "max_tokens": call.max_tokens,
        "stream": True,
    }
    headers = {"Authorization": f"Bearer {installation.keys.get(call.priority, installation.keys['mid'])}"}
    try:
        async with client.stream("POST", f"{installation.gateway}/completions", json=body, headers=headers) as response:
            whole = ""
            async for line in response.aiter_lines():
                if answer.first is None and line.startswith("data: {") and '"error"' not in line:
                    answer.first = time.monotonic() - began
                whole = line or whole
            if response.status_code != 200 or whole != "data: [DONE]":
                answer.error = f"{response.status_code} {whole[:200]}"
    except httpx2.HTTPError as error:
        answer.error = repr(error)
    return answer


def quantile(values: list[float], part: float) -> float:
    """The smallest value that so large a part does not exceed."""
    return sorted(values)[max(math.ceil(part * len(values)) - 1, 0)]


def measure(tree: Path, calls: list[Call], *, priorities: bool) -> dict[str, float]:
    """One replay against one checkout."""
    with tempfile.TemporaryDirectory(prefix="srdz-turns-") as folder:
        Path(folder).chmod(0o755)
        installation = Installation(tree, Path(folder))
        try:
            installation.prepare(sorted({call.model for call in calls}), priorities=priorities)
            before = installation.wakes()
            answers = asyncio.run(replay(installation, calls))
            wakes = installation.wakes() - before
        finally:
            installation.up.end()
    seen = [answer.first for answer in answers if answer.first is not None]
    figures: dict[str, float] = {f"TTFT p{round(part * 100)}, s": quantile(seen, part) for part in PARTS}
    figures |= {"longest, s": max(seen), "mean, s": statistics.mean(seen), "swaps": wakes}
    figures["failed"] = sum(bool(answer.error) for answer in answers)
    for error, count in Counter(answer.error for answer in answers if answer.error).most_common(5):
        print(f"{count} x {error}", file=sys.stderr)
    if priorities:
        by_priority: dict[str, list[float]] = defaultdict(list)
        for answer in answers:
            by_priority[answer.call.priority].append(ANSWER_SECONDS if answer.first is None else answer.first)
        for name in TEAMS:
            if seen := by_priority[name]:
                figures |= {f"{name}: p{round(part * 100)}, s": quantile(seen, part) for part in PARTS}
    return figures


def main() -> None:
    """Print each figure, and the ratio where there are two checkouts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--against", type=Path, help="another checkout, measured after this one")
    parser.add_argument("--priorities", action="store_true")
    given = parser.parse_args()
    calls = read(given.trace)
    trees = [ROOT, *([given.against.resolve()] if given.against else [])]
    seen = [measure(tree, calls, priorities=given.priorities) for tree in trees]
    print(f"{len(calls)} calls on {GPU}, commit {_commit(ROOT)}" + (f" and {_commit(trees[1])}" if seen[1:] else ""))
    print(f"{'':20}{'here':>10}" + (f"{'there':>10}{'ratio':>8}" if seen[1:] else ""))
    for name, here in seen[0].items():
        line = f"{name:20}{here:10.2f}"
        if seen[1:]:
            there = seen[1][name]
            line += f"{there:10.2f}" + (f"{here / there:8.2f}" if there else "")
        print(line)


def _commit(tree: Path) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=tree, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or os.fspath(tree)


if __name__ == "__main__":
    main()
