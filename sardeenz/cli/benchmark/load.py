"""A load as people type it, and as the API takes it."""

import re
from pathlib import Path
from typing import Any

from sardeenz import sizes
from sardeenz.cli.output import fail

LENGTH = re.compile(r"(?P<fixed>\d+)|(?P<low>\d+)-(?P<high>\d+)|~(?P<median>\d+)(?::(?P<sigma>[0-9.]+))?")
SLOS = {"ttft": "ttft_seconds", "itl": "itl_seconds", "tpot": "tpot_seconds", "e2e": "e2e_seconds"}


def length(option: str, text: str) -> dict[str, Any]:
    """`128`, `50-200`, or `~200` and `~200:0.8` for a median with a spread."""
    form = LENGTH.fullmatch(text)
    if form is None:
        fail(f"--{option}: {text!r} is no length: write 128, 50-200 or ~200 (about, with a long tail)")
    if form["fixed"]:
        return {"shape": "fixed", "tokens": int(form["fixed"])}
    if form["low"]:
        return {"shape": "uniform", "low": int(form["low"]), "high": int(form["high"])}
    spread = {"sigma": float(form["sigma"])} if form["sigma"] else {}
    return {"shape": "lognormal", "tokens": int(form["median"]), **spread}


def size(option: str, text: str) -> int:
    """Bytes of `8GiB`."""
    try:
        return sizes.parse(text)
    except ValueError as error:
        fail(f"--{option}: {error}")


def slo(text: str) -> dict[str, float]:
    """`ttft=0.5,tpot=0.05`, in seconds."""
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[SLOS[name.strip()]] = float(value)
        except (KeyError, ValueError):
            fail(f"--slo: {part!r} is no SLO: write ttft=0.5, of {', '.join(SLOS)}, in seconds")
    return found


def probe(text: str) -> dict[str, Any]:
    """A deployment's name, and after `=` how often it is asked, in seconds."""
    name, _, every = text.partition("=")
    try:
        return {"deployment": name, **({"every_seconds": float(every)} if every else {})}
    except ValueError:
        fail(f"--probe: {every!r} is no number of seconds")


def neighbour(text: str) -> dict[str, Any]:
    """`code=5`: a neighbour that is asked five times a second."""
    name, _, rate = text.partition("=")
    try:
        return {"deployment": name, "arrival": {"pattern": "poisson", "rate": float(rate)}}
    except ValueError:
        fail(f"--beside-load: {text!r}: write NAME=CALLS_A_SECOND, as code=5")


def arrival(given: dict[str, Any]) -> dict[str, Any]:
    """The pattern that the options mean, where it is not said."""
    concurrency, rate, rate_end = given["concurrency"], given["rate"], given["to_rate"]
    pattern = given["pattern"]
    if concurrency is not None and rate is not None:
        fail("say either --concurrency (callers that wait for their answers) or --rate (calls a second)")
    if pattern is None:
        pattern = "closed" if rate is None else "ramp" if rate_end is not None else "poisson"
    if pattern != "closed" and rate is None:
        fail(f"--pattern {pattern} needs --rate")
    said = {
        "pattern": pattern,
        "concurrency": concurrency,
        "rate": rate,
        "rate_end": rate_end,
        "ramp_seconds": given["seconds"] if pattern == "ramp" else None,
        "burstiness": given["burstiness"],
    }
    return {name: value for name, value in said.items() if value is not None}


def body(names: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """The request that starts the run, from the options of the command."""
    wanted = {
        "name": given["name"],
        "together": False if given["isolated"] else None,
        "seconds": given["seconds"],
        "calls": given["calls"],
        "warmup_seconds": given["warmup"],
        "drain_seconds": given["drain"],
        "seed": given["seed"],
        "speed": given["speed"],
        "beside": given["beside"] or None,
        "metered": given["metered"] or None,
        "keeps_awake": given["keeps_awake"] or None,
    }
    said = {name: value for name, value in wanted.items() if value is not None}
    said["probes"] = [probe(text) for text in given["probes"] or ()]
    if given["trace"] is not None:
        return said | {"trace": file("trace", given["trace"])}
    if not names:
        fail("say which deployments to ask, or replay a --trace")
    if given["seconds"] is None and given["calls"] is None:
        said["seconds"] = 30.0
    ways = ["gateway", "engine"] if given["way"] == "both" else [given["way"]]
    return said | {"streams": [stream(name, way, given) for name in names for way in ways]}


def stream(name: str, way: str, given: dict[str, Any]) -> dict[str, Any]:
    """The calls to one deployment."""
    said: dict[str, Any] = {"deployment": name, "way": way, "arrival": arrival(given), "kind": given["kind"]}
    said |= {"prompt": length("prompt", given["prompt"]), "output": length("output", given["output"])}
    said |= {"exact_output": not given["free_output"], "shared_prefix_ratio": given["shared_prefix"]}
    if given["slo"]:
        said["slo"] = slo(given["slo"])
    if given["prompts"] is not None:
        said["prompts"] = file("prompts", given["prompts"])
    return said


def file(option: str, path: Path) -> str:
    """The text of a file that an option names."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--{option}: {path} cannot be read: {getattr(error, 'strerror', None) or error}")
