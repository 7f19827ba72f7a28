"""What an idle installation costs: memory (PSS of its Python processes), CPU, and seconds until it is up.

`make bench-footprint` measures this tree; BENCH_ARGS="--against DIR" measures another checkout too, in turns on the
same machine, and prints the ratios. DIR is run with this tree's environment.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.patience import free_port

ROOT = Path(__file__).resolve().parents[2]
SETTLE_SECONDS = 12.0
IDLE_SECONDS = 20.0
MIB = 2**20
_CLOCK = os.sysconf("SC_CLK_TCK")


class Up:
    """One `sardeenz up` of a checkout, with its own data directory."""

    def __init__(self, tree: Path, data_dir: Path, gpus: int, *, gpu: str = "") -> None:
        module = "sardeenz.cli.main" if (tree / "sardeenz" / "cli").is_dir() else "sardeenz.cli"
        bench = {name.removeprefix("BENCH_"): value for name, value in os.environ.items() if "BENCH_SARDEENZ_" in name}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SARDEENZ_")}
        environment |= {
            "SARDEENZ_DATA_DIR": str(data_dir),
            "SARDEENZ_GPUS": gpu or f"simulated:{gpus}x80GiB",
            "SARDEENZ_WEB_PORT": str(free_port()),
            "SARDEENZ_GATEWAY_PORT": str(free_port()),
            "SARDEENZ_GATEWAY_PROCESSES": "2",
        } | bench
        self.environment = environment
        began = time.monotonic()
        self._output = data_dir / "up.out"
        with self._output.open("wb") as out:
            argv = [sys.executable, "-m", module, "up"]
            self.process = subprocess.Popen(argv, cwd=tree, env=environment, stdout=out, stderr=out)
        while "Sardeenz is up" not in self._output.read_text():
            if self.process.poll() is not None or time.monotonic() - began > 180:
                raise RuntimeError(self._output.read_text())
            time.sleep(0.05)
        self.seconds = time.monotonic() - began

    def end(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=120)

    def pids(self) -> list[int]:
        """Its Python processes."""
        family = {self.process.pid}
        while children := {pid for pid, parent in _parents().items() if parent in family} - family:
            family |= children
        return [pid for pid in family if "python" in _program(pid)]


def _program(pid: int) -> str:
    """Its file's name; none where it has just ended."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return parents


def pss_bytes(pids: list[int]) -> int:
    """Proportional set size, as smaps_rollup tells it, summed up."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(size) * 1024 for text in texts for size in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))


def cpu_seconds(pids: list[int]) -> float:
    """User and system time so far, summed up."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / _CLOCK


def measure(tree: Path) -> dict[str, float]:
    """One round: a first start, an idle while, a second start, and a start with one more GPU."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="srdz-foot-") as folder:
        Path(folder).chmod(0o755)
        first = Up(tree, Path(folder), 2)
        figures["first start to banner, s"] = first.seconds
        time.sleep(SETTLE_SECONDS)
        pids = first.pids()
        figures["PSS at 2 GPUs, MiB"] = pss_bytes(pids) / MIB
        spent = cpu_seconds(pids)
        time.sleep(IDLE_SECONDS)
        figures["idle CPU, % of a core"] = 100 * (cpu_seconds(pids) - spent) / IDLE_SECONDS
        first.end()
        second = Up(tree, Path(folder), 3)
        figures["second start to banner, s"] = second.seconds
        time.sleep(SETTLE_SECONDS)
        figures["PSS of one more GPU, MiB"] = pss_bytes(second.pids()) / MIB - figures["PSS at 2 GPUs, MiB"]
        second.end()
    return figures


def main() -> None:
    """Print each figure's median, and the ratio where there are two trees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout, measured in turns with this one")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    trees = [ROOT, *([given.against.resolve()] if given.against else [])]
    seen: dict[Path, dict[str, list[float]]] = {tree: defaultdict(list) for tree in trees}
    for _ in range(given.rounds):
        for tree in trees:
            for name, value in measure(tree).items():
                seen[tree][name].append(value)
    print(f"{'':28}{'here':>10}{'there':>10}{'ratio':>8}" if given.against else f"{'':28}{'here':>10}")
    for name, values in seen[ROOT].items():
        here = statistics.median(values)
        line = f"{name:28}{here:10.1f}"
        if given.against:
            there = statistics.median(seen[trees[1]][name])
            line += f"{there:10.1f}{here / there:8.2f}"
        print(line)


if __name__ == "__main__":
    main()
