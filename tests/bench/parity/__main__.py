"""Our runner beside `vllm bench serve` and guidellm: the same calls to the same engine, and what a call costs.

`make bench-parity` needs the vLLM of `make test-vllm`, and installs guidellm. Who comes first changes from round to
round. Three comparisons:

* figures on our simulator, whose every token is counted;
* figures on vLLM, on this machine's CPU with a tiny model;
* cost: streams of 128 pieces from an engine that is never the limit; CPU seconds of the client, by call. CPU is
  compared rather than a rate, so that other programs change little. Of `vllm bench` two sizes are run, and the smaller
  is taken off: what its start costs is no part of it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from gateway.benchmark.load.bodies import Bodies
from gateway.benchmark.load.plan import Lengths, Stream
from tests.bench.parity import engines, programs
from tests.bench.parity.engines import MODEL, ROOT
from tests.bench.parity.programs import Load, Program
from tests.bench.parity.told import GUIDELLM, OURS, VLLM, Told, table
from tests.vllm import tiny_model

PIECES = 128
WORDS = 20


def prepare(folder: Path, calls: int, tokens: int) -> Path:
    """The prompts of a run for all, in one file that each can read."""
    bodies = Bodies(Stream(MODEL, prompt=Lengths(tokens=WORDS)), MODEL, f"prompts {calls}")
    path = folder / f"prompts-{calls}.jsonl"
    lines = ({"prompt": bodies.prompts.take(WORDS), "output_tokens_count": tokens} for _ in range(calls))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def with_text(folder: Path) -> Path:
    """The tiny model with a character of its own for each byte: a token is a piece of the answer.

    Of random bytes most are no whole character, and a client that waits for text would wait for the next token.
    """
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"decoder": {"type": "Fuse"}}))
    return folder


def compare(contestants: dict[str, Program], engine: AbstractContextManager[str], load: Load, rounds: int) -> None:
    """Every program in every round on the same engine, and the table of them."""
    told: dict[str, list[Told]] = {name: [] for name in contestants}
    names = list(contestants)
    with engine as url:
        programs.ours(url, load)  # so that nobody is the first whom it serves
        for number in range(rounds):
            for turn in range(len(names)):
                name = names[(number + turn) % len(names)]
                told[name].append(programs.measured(contestants[name], url, load))
                print(f"round {number + 1}, {name}: {told[name][-1]}", file=sys.stderr, flush=True)
    print(
        f"\n{rounds} rounds of {load.calls} calls, {load.callers} callers, {load.tokens} tokens an answer; times in ms"
    )
    print(table(told), flush=True)


def compare_cost(vllm: Program, folder: Path, tokenizer: Path, calls: int, callers: int) -> None:
    """CPU of the client for each stream of PIECES pieces."""
    few = calls // 10
    loads = [Load(size, callers, PIECES, prepare(folder, size, PIECES), tokenizer) for size in (few, calls)]
    with engines.stream() as url:
        base, many = (programs.measured(vllm, url, load) for load in loads)
        mine = programs.measured(programs.ours, url, loads[1])
    if (many.calls, mine.calls) != (calls, calls):
        raise SystemExit(f"not all calls were answered: {many.calls} and {mine.calls} of {calls}")
    one = (many.cpu_seconds - base.cpu_seconds) / (calls - few)
    other = mine.cpu_seconds / calls
    print(f"\n{calls} streams of {PIECES} pieces, {callers} at once: CPU by stream, and what one core drives")
    print(f"vllm bench {one * 1000:8.2f} ms {1 / one:8.0f} streams/s {PIECES / one:10.0f} pieces/s")
    print(f"ours       {other * 1000:8.2f} ms {1 / other:8.0f} streams/s {PIECES / other:10.0f} pieces/s")
    print(f"{one / other:.1f} times as many")


def versions(vllm: Path, guidellm: Path) -> None:
    """Whom the tables tell of."""
    for program in (vllm, guidellm):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        print(f"{program.name}: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else 'unknown'}")


def main() -> None:
    """What was asked of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm", type=Path, default=ROOT / ".venv-vllm/bin/vllm")
    parser.add_argument("--guidellm", type=Path, default=ROOT / ".venv-bench/guidellm/bin/guidellm")
    parser.add_argument("--only", choices=("simulator", "vllm", "cost"))
    parser.add_argument("--calls", type=int, default=160)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=3000)
    parser.add_argument("--at-once", type=int, default=200)
    given = parser.parse_args()
    vllm = programs.vllm_bench(given.vllm)
    contestants = {OURS: programs.ours, VLLM: vllm, GUIDELLM: programs.guidellm(given.guidellm)}
    versions(given.vllm, given.guidellm)
    with tempfile.TemporaryDirectory(prefix="srdz-parity-") as name:
        folder = Path(name)
        model = with_text(tiny_model.write(folder / "model"))
        prompts = prepare(folder, given.calls, given.tokens)
        load = Load(given.calls, given.callers, given.tokens, prompts, model)
        if given.only in (None, "simulator"):
            print("\n# the simulator")
            compare(contestants, engines.simulator(), load, given.rounds)
        if given.only in (None, "vllm"):
            print("\n# vLLM on the CPU")
            compare(contestants, engines.real(given.vllm, model), load, given.rounds)
        if given.only in (None, "cost"):
            compare_cost(vllm, folder, model, given.streams, given.at_once)


if __name__ == "__main__":
    main()
