"""Benchmarks as lines of text."""

from typing import Any

from sardeenz.cli.client import Rows
from sardeenz.cli.output import say, table

TIMES = (
    ("ttft", "TTFT"),
    ("answer", "first answer token"),
    ("tpot", "TPOT"),
    ("itl", "ITL"),
    ("chunk_gap", "between pieces"),
    ("e2e", "whole answer"),
    ("send_lag", "runner's lag"),
)
STATISTICS = ("p50", "p90", "p95", "p99", "max")
_RIGHT = frozenset(range(1, 1 + len(STATISTICS)))


def tell(row: dict[str, Any]) -> None:
    """A benchmark and its figures."""
    about = f"{row['name']}: " if row["name"] else ""
    ended = f" ({row['code']})" if row["code"] else ""
    say(f"benchmark {row['id']}: {about}{row['status']}{ended}" + (f": {row['message']}" if row["message"] else ""))
    result = row["result"]
    if result is None:
        return
    if search := result.get("search"):
        _tell_search(search)
    for stream in result["streams"]:
        _tell_stream(stream)
    if drill := result.get("drill"):
        _tell_drill(drill)
    for reason in result["runner"]["degraded"]:
        say(f"Degraded: {reason}", "yellow")
    for sentence in row["drift"]:
        say(f"Not as measured any more: {sentence}", "yellow")
    say(f"Seed {result['seed']}; the runner used {result['runner']['cpu_ratio']:.0%} of a core.", "dim")


def _tell_drill(drill: dict[str, Any]) -> None:
    """What the fleet did, each part's figures, and what it comes to."""
    if slept := drill.get("sleep_seconds"):
        times = ", ".join(f"{each} {seconds(slept, each)}" for each in ("p50", "p99", "max"))
        say(f"Asleep at level {drill['level']} {drill['cycles']} times; falling asleep took {times}.")
    lines = [_part(part["name"], part["figures"]) for part in drill.get("parts", ())]
    if lines:
        columns = ("", "answered", "TTFT p50", "p99", "TPOT p50", "whole p50", "p99")
        say(table(columns, lines, right=frozenset(range(1, len(columns)))))
    if words := drill.get("words"):
        say(words, "bold")


def _part(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    times = figures["times"]
    shown = (("ttft", "p50"), ("ttft", "p99"), ("tpot", "p50"), ("e2e", "p50"), ("e2e", "p99"))
    return (name, f"{figures['ok']} of {figures['calls']}", *(seconds(times[time], each) for time, each in shown))


def _tell_search(search: dict[str, Any]) -> None:
    """Each load that was tried, and the answer."""
    unit = "calls/s" if search["over"] == "rate" else "callers"
    lines = [_trial(trial) for trial in search["trials"]]
    columns = (unit, "kept the SLO", "of calls", "answered a second", "mean duration", "")
    say(table(columns, lines, right=frozenset(range(5))))
    say(search["words"], "bold")
    if search["good_ratio"] is not None:
        low, high = search["good_ratio_low"], search["good_ratio_high"]
        say(f"At that load {search['good_ratio']:.1%} kept it; with 95 % confidence {low:.1%} to {high:.1%}.")
    if search["max_concurrency"]:
        say(f"{search['max_concurrency']} calls are in flight then: `bench apply` makes that the limit.")


def _trial(trial: dict[str, Any]) -> tuple[str, ...]:
    rate, mean = trial["requests_per_second"], trial["e2e_mean_seconds"]
    verdict = ("keeps" if trial["keeps"] else "fails") + ("" if trial["certain"] else ", perhaps")
    return (
        f"{trial['value']:g}",
        str(trial["good"]),
        str(trial["calls"]),
        "-" if rate is None else f"{rate:.2f}",
        "-" if mean is None else f"{mean:.2f} s",
        verdict,
    )


def _tell_stream(stream: dict[str, Any]) -> None:
    figures = stream["figures"]
    asked = "probes" if stream["role"] == "probe" else stream["pattern"]
    say(f"\n{stream['deployment']}, {asked}, through the {stream['way']}: {counts(figures)}", "bold")
    lines = [(title, *(seconds(figures["times"][name], each) for each in STATISTICS)) for name, title in TIMES]
    say(table(("", *STATISTICS), [line for line in lines if set(line[1:]) != {"-"}], right=_RIGHT))
    for code, count in figures["failed"].items():
        words = figures["messages"].get(code)
        say(f"{count} ended as {code}" + (f": {words}" if words else ""), "yellow")


def counts(figures: dict[str, Any]) -> str:
    """How many, how many of them well, and how much a second."""
    said = f"{figures['ok']} of {figures['calls']} calls answered"
    if figures["requests_per_second"]:
        said += f", {figures['requests_per_second']:.2f} a second"
    if figures["output_tokens_per_second"]:
        said += f", {figures['output_tokens_per_second']:.0f} tokens a second"
    if figures["goodput_ratio"] is not None:
        said += f", {figures['goodput_ratio']:.1%} kept the SLO"
    return said


def seconds(times: dict[str, Any], statistic: str) -> str:
    """A time in the unit that suits it; `never` where it lies among calls that were not answered."""
    value = times[statistic]
    if value is None:
        return "never" if times["never"] else "-"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms"


def progress(row: dict[str, Any]) -> str:
    """How far it is, in one line."""
    told = row["progress"]
    if not told.get("streams"):
        return f"benchmark {row['id']} is {row['status']}"
    if drill := told.get("drill"):
        return f"woken {drill['done']} of {drill['cycles']} times"
    search = told.get("search")
    before = f"trying {search['trying']:g}, {search['spent_seconds']:.0f} s spent; " if search else ""
    done, total = told["elapsed_seconds"], told["total_seconds"]
    bar = ""
    if total:
        filled = min(round(done / total * 20), 20)
        bar = f"[{'#' * filled}{'.' * (20 - filled)}] "
    parts = [_share(each) for each in told["streams"] if each["role"] == "load"]
    return before + f"{bar}{done:.0f} s" + (f" of {total:.0f}" if total else "") + "; " + "; ".join(parts)


def _share(stream: dict[str, Any]) -> str:
    first = stream["ttft_seconds"]
    failed = f", {stream['failed']} failed" if stream["failed"] else ""
    ttft = f", TTFT {first * 1000:.0f} ms" if first is not None else ""
    return f"{stream['deployment']} {stream['ok']} answered{failed}, {stream['in_flight']} in flight{ttft}"


def compare(found: Rows) -> None:
    """Runs side by side; differences are to the first."""
    columns = ["", *(f"{row['id']} {row['name']}".strip() for row in found)]
    by_stream = [{_key(each): each["figures"] for each in row["result"]["streams"]} for row in found]
    for key in by_stream[0]:
        if not all(key in streams for streams in by_stream):
            continue
        say(f"\n{', '.join(key)}", "bold")
        sides = [streams[key] for streams in by_stream]
        lines = [_line(title, [_value(each, name) for each in sides]) for title, name in _COMPARED]
        say(table(columns, lines, right=frozenset(range(1, len(columns)))))


_COMPARED = (
    ("calls a second", "requests_per_second"),
    ("tokens a second", "output_tokens_per_second"),
    *((f"{title} {each}, ms", f"{name}_{each}") for name, title in TIMES[:-1] for each in ("p50", "p95", "p99")),
)


def _key(stream: dict[str, Any]) -> tuple[str, str, str]:
    return stream["deployment"], stream["role"], stream["way"]


def _value(figures: dict[str, Any], name: str) -> float | None:
    if name in figures:
        return figures[name]  # type: ignore[no-any-return]
    time, _, statistic = name.rpartition("_")
    value = figures["times"][time][statistic]
    return None if value is None else value * 1000


def _line(title: str, values: list[float | None]) -> list[str]:
    first = values[0]
    cells = [title]
    for number, value in enumerate(values):
        said = "-" if value is None else f"{value:.2f}"
        if number and value is not None and first:
            said += f" ({value / first - 1:+.1%})"
        cells.append(said)
    return cells
