"""Our runner beside `vllm bench serve`: the same calls to the same engine, and what a call costs its maker.

`make bench-parity` needs the vLLM of `make test-vllm`. Two comparisons, in turn:

* figures: a closed loop against our simulator, whose every token is counted; counts must be equal, times near;
* cost: streams of 128 pieces from an engine that is never the limit; CPU seconds of the client, by call. CPU is
  compared rather than a rate, so that other programs change little. Of `vllm bench` two sizes are run, and the smaller
  is taken off: what its start costs is no part of it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from gateway.benchmark.load.bodies import PATHS, Bodies
from gateway.benchmark.load.connection import Address
from gateway.benchmark.load.driver import Course, Driver
from gateway.benchmark.load.figures import Ledger
from gateway.benchmark.load.health import Watch
from gateway.benchmark.load.plan import Arrival, Lengths, Plan, Stream
from tests.patience import free_port

ROOT = Path(__file__).resolve().parents[2]
MODEL = "bench"
CALLERS = 8
PIECES = 128
TOKENIZER = """
import sys
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = sys.argv[2].split()
one = Tokenizer(models.WordLevel({word: number for number, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
one.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=one, unk_token="<unk>").save_pretrained(sys.argv[1])
"""


async def ours_inside(url: str, calls: int, callers: int, tokens: int, prompts: tuple[str, ...]) -> dict[str, Any]:
    """A closed loop in this process, and the CPU it took."""
    stream = Stream(MODEL, Arrival("closed", concurrency=callers), output=Lengths(tokens=tokens), prompts=prompts)
    plan = Plan((stream,), calls=calls)
    course = Course(stream, Address(url, "", PATHS["chat"]), Bodies(stream, MODEL, "1"), Ledger(stream.slo), "1")
    watch, began = Watch(), time.monotonic()
    await Driver(plan, [course]).run()
    cpu = watch.cpu_ratio() * (time.monotonic() - began)
    return {**course.ledger.figures(), "cpu_seconds": cpu}


def ours(url: str, calls: int, callers: int, tokens: int, prompts: Path) -> dict[str, Any]:
    """The same in a process of its own."""
    words = ["--child", url, str(calls), str(callers), str(tokens), str(prompts)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.parity", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def theirs(vllm: Path, url: str, calls: int, callers: int, tokens: int, prompts: Path) -> dict[str, Any]:
    """One `vllm bench serve`: its result file, and the CPU of its process."""
    out = prompts.parent / "theirs.json"
    words = ["bench", "serve", "--backend", "openai-chat", "--endpoint", PATHS["chat"], "--base-url", url]
    words += ["--model", MODEL, "--tokenizer", str(prompts.parent / "tokenizer"), "--dataset-name", "random"]
    words += ["--random-input-len", "100", "--random-output-len", str(tokens), "--num-prompts", str(calls)]
    words += ["--max-concurrency", str(callers), "--ignore-eos", "--disable-tqdm"]
    words += ["--save-result", "--result-dir", str(out.parent), "--result-filename", out.name]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {"PATH": os.environ["PATH"], "HOME": str(prompts.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([vllm, *words], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(out.read_text()), "cpu_seconds": cpu}


@contextmanager
def engine(*words: str) -> Iterator[str]:
    """An engine in a process of its own, once it answers."""
    port = free_port()
    argv = [sys.executable, "-m", *(word.replace("PORT", str(port)) for word in words)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def prepare(vllm: Path, folder: Path, calls: int) -> Path:
    """Prompts for both, and a tokenizer that knows their words."""
    bodies = Bodies(Stream(MODEL, prompt=Lengths(tokens=100)), MODEL, "prompts")
    texts = [bodies.prompts.take(100) for _ in range(calls)]
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    words = " ".join(sorted({word for text in texts for word in text.split()}))
    python = vllm.parent / "python"
    subprocess.run([python, "-c", TOKENIZER, str(folder / "tokenizer"), words], check=True, capture_output=True)
    return path


def compare_figures(vllm: Path, prompts: Path, calls: int, rounds: int) -> None:
    """A line for each figure: theirs, ours, the difference."""
    words = ["serve", MODEL, "--port", "PORT", "--served-model-name", MODEL, "--load-seconds", "0"]
    words += ["--ttft-seconds", "0.2", "--tokens-per-second", "20"]
    for turn in range(rounds):
        with engine("models_app.engines.simulator", *words) as url:
            if turn % 2:
                b, a = ours(url, calls, CALLERS, 20, prompts), theirs(vllm, url, calls, CALLERS, 20, prompts)
            else:
                a, b = theirs(vllm, url, calls, CALLERS, 20, prompts), ours(url, calls, CALLERS, 20, prompts)
        times = b["times"]
        lines = [
            ("calls answered", a["completed"], b["ok"]),
            ("output tokens", a["total_output_tokens"], b["completion_tokens"]),
            ("calls a second", a["request_throughput"], b["requests_per_second"]),
            ("output tokens a second", a["output_throughput"], b["output_tokens_per_second"]),
        ]
        for name, mine in (("ttft", "ttft_service"), ("tpot", "tpot"), ("itl", "chunk_gap"), ("itl", "itl")):
            lines.append((f"mean {name} (our {mine}), ms", a[f"mean_{name}_ms"], times[mine]["mean"] * 1000))
            lines.append((f"p99 {name} (our {mine}), ms", a[f"p99_{name}_ms"], times[mine]["p99"] * 1000))
        print(f"\nround {turn + 1}: {calls} calls, {CALLERS} callers\n{'':34}{'vllm bench':>12}{'ours':>12}{'':>10}")
        for name, one, other in lines:
            print(f"{name:34}{one:12.2f}{other:12.2f}{other / one - 1 if one else 0:>+10.1%}")


def compare_cost(vllm: Path, prompts: Path, calls: int, callers: int) -> None:
    """CPU of the client for each stream of PIECES pieces."""
    few = calls // 10
    with engine("tests.bench.gateway.engine", "PORT") as url:
        base = theirs(vllm, url, few, callers, PIECES, prompts)
        many = theirs(vllm, url, calls, callers, PIECES, prompts)
        mine = ours(url, calls, callers, PIECES, prompts)
    if (many["completed"], mine["ok"]) != (calls, calls):
        raise SystemExit(f"not all calls were answered: {many['completed']} and {mine['ok']} of {calls}")
    one = (many["cpu_seconds"] - base["cpu_seconds"]) / (calls - few)
    other = mine["cpu_seconds"] / calls
    print(f"\n{calls} streams of {PIECES} pieces, {callers} at once: CPU by stream, and what one core drives")
    print(f"vllm bench {one * 1000:8.2f} ms {1 / one:8.0f} streams/s {PIECES / one:10.0f} pieces/s")
    print(f"ours       {other * 1000:8.2f} ms {1 / other:8.0f} streams/s {PIECES / other:10.0f} pieces/s")
    print(f"{one / other:.1f} times as many")


def main() -> None:
    """Both comparisons, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", type=Path, default=ROOT / ".venv-vllm/bin/vllm")
    parser.add_argument("--calls", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--streams", type=int, default=3000)
    parser.add_argument("--at-once", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="srdz-parity-") as name:
        prompts = prepare(given.vllm, Path(name), max(given.calls, given.streams))
        compare_figures(given.vllm, prompts, given.calls, given.rounds)
        if given.streams:
            compare_cost(given.vllm, prompts, given.streams, given.at_once)


def child(words: list[str]) -> None:
    """Our side, printed as JSON."""
    url, calls, callers, tokens, prompts = words
    texts = tuple(json.loads(line)["prompt"] for line in Path(prompts).read_text().splitlines())
    told = uvloop.run(ours_inside(url, int(calls), int(callers), int(tokens), texts))
    sys.stdout.write(msgspec.json.encode(told).decode())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
