"""The acceptance on a GPU: needs vLLM, kvcached and Python's standard library; no database, no Django.

    python3 -m tests.gpu.acceptance --model /tmp/8b --out /tmp/acceptance -- --load-format dummy --enforce-eager
    python3 -m tests.gpu.acceptance --simulated 1x80GiB --out /tmp/acceptance

What follows `--` goes to every engine. It prints one row per figure, writes acceptance.json and acceptance.md into the
folder, and leaves with 1 when something did not pass.
"""

import argparse
import importlib.metadata
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sardeenz.errors import SardeenzError
from tests.gpu import bursts, points
from tests.gpu.client import CallFailed, Client
from tests.gpu.report import Report
from tests.gpu.rig import GIB, CannotStart, Failed, Rig, Settings

_EXPECTED = (Failed, CallFailed, SardeenzError, OSError, ValueError, LookupError, TimeoutError)
_SIMULATED_ARGS = ("--load-seconds", "0.2", "--tokens-per-second", "400", "--ttft-seconds", "0.005")


def main(argv: list[str]) -> int:
    """Run the points; 1 when one failed."""
    at = argv.index("--") if "--" in argv else len(argv)
    values, extra = _parser().parse_args(argv[:at]), argv[at + 1 :]
    settings = _settings(values, extra)
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        rig = Rig(settings)
    except (OSError, LookupError, subprocess.SubprocessError, SardeenzError) as error:
        print(f"no GPU answers here: {error}", file=sys.stderr)
        return 2
    report = Report(_about(rig))
    gateway = Client(values.gateway_url, values.gateway_key, values.gateway_model) if values.gateway_url else None
    try:
        for point in values.points.split(","):
            went_on = _run(point, _POINTS[point], rig, report, gateway)
            report.write(settings.out)
            if not went_on:
                break
    finally:
        rig.close()
    report.write(settings.out)
    print(report.markdown())
    return 1 if report.failures else 0


_POINTS: dict[str, Callable[[Rig, Report, Client | None], None]] = {
    "1": lambda rig, report, _: points.one_engine(rig, report),
    "2": lambda rig, report, _: points.shared_gpu(rig, report),
    "3": lambda rig, report, _: points.sleeps(rig, report),
    "4": lambda rig, report, _: points.limits(rig, report),
    "5e": lambda rig, report, _: bursts.elastic(rig, report),
    "5s": lambda rig, report, _: bursts.static(rig, report),
    "6": lambda rig, report, _: points.ends(rig, report),
    "7": points.gateway_overhead,
}


def _run(
    point: str,
    act: Callable[[Rig, Report, Client | None], None],
    rig: Rig,
    report: Report,
    gateway: Client | None,
) -> bool:
    """One point; what goes wrong is a row, and the next point still runs unless no engine can start at all."""
    try:
        act(rig, report, gateway)
    except _EXPECTED as error:
        report.add(point, "went wrong", type(error).__name__, ok=False, note=str(error)[-1500:])
        rig.clear()
        return bool(rig.engines) or not isinstance(error, CannotStart)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.gpu.acceptance", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the results and the engines' logs")
    parser.add_argument("--model", default="llama-8b", help="folder or hub id; about 8B parameters")
    parser.add_argument("--points", default="1,2,3,4,7,5e,6,5s", help="which, in this order; 6 and 5s end every engine")
    parser.add_argument("--executable", default=shutil.which("vllm") or "vllm")
    parser.add_argument("--version", default="", help="of vLLM; found out when not given")
    parser.add_argument("--max-model-len", type=int, default=8192)
    parser.add_argument("--kv-cap-gib", type=float, default=16)
    parser.add_argument("--requests", type=int, default=8, help="at once, in the loads")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer, in the loads")
    parser.add_argument("--prompt-characters", type=int, default=3000)
    parser.add_argument("--burst-kv-gib", type=float, default=9, help="KV memory of all three models in the bursts")
    parser.add_argument("--burst-peak", type=float, default=24, help="requests a second")
    parser.add_argument("--burst-slope", type=float, default=3, help="requests a second, a second")
    parser.add_argument("--burst-tokens", type=int, default=256, help="of an answer, in the bursts")
    parser.add_argument("--start-seconds", type=float, default=300)
    parser.add_argument("--simulated", default="", metavar="1x80GiB", help="the simulator in the place of a GPU")
    parser.add_argument("--gateway-url", default="")
    parser.add_argument("--gateway-key", default="")
    parser.add_argument("--gateway-model", default="")
    return parser


def _settings(values: argparse.Namespace, extra: list[str]) -> Settings:
    return Settings(
        out=values.out,
        model=values.model,
        executable=values.executable,
        version=values.version or ("0.30.0" if values.simulated else vllm_version()),
        simulation=values.simulated,
        extra_args=(*_SIMULATED_ARGS, *extra) if values.simulated else tuple(extra),
        max_model_len=values.max_model_len,
        kv_cap_bytes=int(values.kv_cap_gib * GIB),
        start_seconds=values.start_seconds,
        prompt_characters=values.prompt_characters,
        requests=values.requests,
        tokens=values.tokens,
        burst_kv_bytes=int(values.burst_kv_gib * GIB),
        burst_peak=values.burst_peak,
        burst_slope=values.burst_slope,
        burst_tokens=values.burst_tokens,
    )


def vllm_version() -> str:
    """vLLM's version; a tree without package data has to be imported for it."""
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        argv = [sys.executable, "-c", "import vllm; print(vllm.__version__)"]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False).stdout.split()
        return said[-1] if said else ""


def _about(rig: Rig) -> dict[str, str]:
    device = rig.read()
    where = {"device": f"{device.name}, {device.memory_total_bytes / GIB:.1f} GiB"}
    return where | about_machine(simulated=device.simulated, model=rig.settings.model, version=rig.settings.version)


def about_machine(*, simulated: bool, model: str, version: str) -> dict[str, str]:
    """What a report says of where it was made; `version` is vLLM's."""
    packages = {"vLLM": version or "unknown"}
    for name in ("kvcached", "torch"):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "simulated": "yes, no figure here is of a GPU" if simulated else "no",
        "driver": "none" if simulated else _driver(),
        "Python": platform.python_version(),
        "model": model,
        **packages,
    }


def _driver() -> str:
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except OSError:
        argv = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout.strip() or "unknown"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a run that is cut short still ends its engines
    sys.exit(main(sys.argv[1:]))
