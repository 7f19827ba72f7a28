"""The programs that are compared: each makes the same calls, and what it says is brought to the same words."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.benchmark.load.bodies import PATHS
from tests.bench.parity import engines
from tests.bench.parity.engines import MODEL, ROOT
from tests.bench.parity.told import Told


@dataclass(frozen=True, slots=True)
class Load:
    """A closed loop of calls whose answers are all as long."""

    calls: int
    callers: int
    tokens: int
    prompts: Path
    """A line of JSON for each call."""
    tokenizer: Path


Program = Callable[[str, Load], Told]


def measured(program: Program, url: str, load: Load) -> Told:
    """A run, beside what it cost and what the engine counted meanwhile."""
    counted, cost = engines.counters(url), _cpu_seconds()
    told = program(url, load)
    cost = _cpu_seconds() - cost
    counts, means = engines.grown(counted, engines.counters(url))
    return replace(told, engine=counts, engine_times=means, cpu_seconds=told.cpu_seconds or cost)


def _cpu_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(url: str, load: Load) -> Told:
    """The runner of the product, in a process of its own."""
    words = [url, str(load.calls), str(load.callers), str(load.tokens), str(load.prompts)]
    said = json.loads(_run([sys.executable, "-m", "tests.bench.parity.ours", *words], load, os.environ["HOME"]))
    means = {"ttft": "ttft_service", "itl": "itl", "tpot": "tpot", "e2e": "e2e_service"}
    times = {f"{name} {at}": said["times"][of][at] * 1000 for name, of in means.items() for at in ("mean", "p50")}
    return Told(
        calls=said["ok"],
        prompt_tokens=said["prompt_tokens"],
        output_tokens=said["completion_tokens"],
        seconds=said["window_seconds"],
        times=times,
        pieces=said["pieces"],
        cpu_seconds=said["cpu_seconds"],
    )


def vllm_bench(vllm: Path) -> Program:
    """`vllm bench serve`."""

    def run(url: str, load: Load) -> Told:
        out = load.prompts.parent / "vllm.json"
        words = ["bench", "serve", "--backend", "openai-chat", "--endpoint", PATHS["chat"], "--base-url", url]
        words += ["--model", MODEL, "--tokenizer", str(load.tokenizer), "--dataset-name", "sharegpt"]
        words += ["--dataset-path", str(_as_conversations(load)), "--sharegpt-output-len", str(load.tokens)]
        words += ["--num-prompts", str(load.calls)]
        words += ["--max-concurrency", str(load.callers), "--ignore-eos", "--disable-tqdm"]
        words += ["--percentile-metrics", "ttft,tpot,itl,e2el"]
        words += ["--save-result", "--result-dir", str(out.parent), "--result-filename", out.name]
        _run([str(vllm), *words], load)
        said = json.loads(out.read_text())
        names = {"ttft": "ttft", "itl": "itl", "tpot": "tpot", "e2e": "e2el"}
        times = {f"{name} mean": said[f"mean_{of}_ms"] for name, of in names.items()}
        times |= {f"{name} p50": said[f"median_{of}_ms"] for name, of in names.items()}
        counts = said["completed"], said["total_input_tokens"], said["total_output_tokens"]
        return Told(*counts, seconds=said["duration"], times=times)

    return run


def _as_conversations(load: Load) -> Path:
    """The prompts in the one form of a file that `vllm bench serve` reads without pandas."""
    path = load.prompts.with_suffix(".json")
    texts = [json.loads(line)["prompt"] for line in load.prompts.read_text().splitlines()]
    path.write_text(json.dumps([{"conversations": [{"value": text}, {"value": "yes"}]} for text in texts]))
    return path


def guidellm(program: Path) -> Program:
    """guidellm's closed loop, which it calls `concurrent`."""

    def run(url: str, load: Load) -> Told:
        out = load.prompts.parent / "guidellm.json"
        form = f"target={url},model={MODEL},request_format={PATHS['chat']}"
        words = ["run", "--backend", f"kind=openai_http,{form}", "--disable-console"]
        words += ["--profile", f"kind=concurrent,streams={load.callers}"]
        words += ["--constraint", f"kind=max_requests,count={load.calls}"]
        words += ["--data", f"kind=json_file,path={load.prompts}", "--output", f"kind=json,path={out}"]
        _run([str(program), *words], load)
        [said] = json.loads(out.read_text())["benchmarks"]
        return _as_guidellm_tells(said)

    return run


def _as_guidellm_tells(said: dict[str, Any]) -> Told:
    metrics = {name: value["successful"] for name, value in said["metrics"].items() if "successful" in (value or {})}
    names = {"ttft": "time_to_first_token_ms", "itl": "inter_token_latency_ms", "per token": "time_per_output_token_ms"}
    times = {f"{name} mean": metrics[of]["mean"] for name, of in names.items()}
    times |= {f"{name} p50": metrics[of]["median"] for name, of in names.items()}
    latency = metrics["request_latency"]
    times |= {"e2e mean": latency["mean"] * 1000, "e2e p50": latency["median"] * 1000}
    return Told(
        calls=said["metrics"]["request_totals"]["successful"],
        prompt_tokens=int(metrics["prompt_token_count"]["total_sum"]),
        output_tokens=int(metrics["output_token_count"]["total_sum"]),
        seconds=said["duration"],
        times=times,
    )


def _run(argv: list[str], load: Load, home: str = "") -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": home or str(load.prompts.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{argv[0]}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout
