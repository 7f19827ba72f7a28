"""What was measured, as Markdown for people and as one JSON document for programs."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.gateway.contestants import DIRECT, OURS, Contestant
from tests.bench.gateway.rounds import Sample, median
from tests.bench.gateway.streams import Open, Soak

MIB = 1024**2
LOAD_BOUND = 0.97
SATURATED = 0.9

Figure = Callable[[Sample], float | None]


@dataclass(slots=True)
class Report:
    """Everything of one run."""

    wrk: str
    contestants: list[Contestant] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    opens: list[Open] = field(default_factory=list)
    soak: Soak | None = None

    def of(self, name: str) -> list[Sample]:
        """One contestant's samples, by round."""
        return sorted((each for each in self.samples if each.contestant == name), key=lambda each: each.round)

    @property
    def names(self) -> list[str]:
        """Who has samples, in the order they came."""
        return list(dict.fromkeys(each.name for each in self.contestants if self.of(each.name)))

    @property
    def failures(self) -> int:
        """Of our own gateway, whatever it was asked."""
        mine: list[Sample | Open] = [*self.samples, *self.opens]
        soaked = self.soak.failures if self.soak else 0
        return soaked + sum(each.failures for each in mine if each.contestant.startswith(OURS))

    def markdown(self) -> str:
        """All tables."""
        parts = [f"{_machine()}, {self.wrk}"]
        if self.samples:
            parts += [_table(self._rows()), self._notes(), _table(self._ratios())]
        if self.opens:
            parts.append(_table(self._open_rows()))
        if self.soak:
            parts.append(soak_line(self.soak))
        parts += [f"Not measured: {name}: {why}" for name, why in self.not_measured.items()]
        return "\n\n".join(part for part in parts if part)

    def save(self, path: Path) -> None:
        """As JSON: every sample, not only the medians."""
        document = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": _machine(),
            "wrk": self.wrk,
            "versions": {each.name: each.version for each in self.contestants},
            "not_measured": self.not_measured,
            "samples": [asdict(sample) for sample in self.samples],
            "streams": [asdict(each) for each in self.opens],
            "soak": asdict(self.soak) if self.soak else None,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")

    def _rows(self) -> list[list[str]]:
        head = ["one core", "requests/s, 32 conns", "CPU/request", "p50 / p99, 1 conn", "SSE chunks/s", "CPU/chunk"]
        rows = [[*head, "TTFT p50 (paced)", "CPU of its core", "others on it", "RSS", "failures"]]
        versions = {each.name: each.version for each in self.contestants}
        for name in self.names:
            samples = self.of(name)
            rows.append(
                [
                    f"{name} {versions[name]}",
                    _spread(samples, lambda each: each.requests_per_second),
                    _micro(median([each.cpu_seconds_per_request for each in samples])),
                    f"{_milli(_median(samples, _p50))} / {_milli(_median(samples, lambda each: each.p99_seconds))}",
                    _spread(samples, lambda each: each.chunks_per_second),
                    _micro(_median(samples, lambda each: each.cpu_seconds_per_chunk)),
                    _milli(_median(samples, lambda each: each.ttft_p50_seconds)),
                    _percent(_median(samples, lambda each: each.request_use.cpu_share)),
                    _percent(_median(samples, lambda each: each.request_use.others_share)),
                    f"{max(each.chunk_use.rss_bytes for each in samples) / MIB:.0f} MiB",
                    str(sum(each.failures for each in samples)),
                ]
            )
        return rows

    def _notes(self) -> str:
        """Which figures the load set, not the contestant."""
        bound = []
        for name in self.names:
            for what, uses in (
                ("requests/s", [each.request_use for each in self.of(name)]),
                ("chunks/s", [each.chunk_use for each in self.of(name)]),
            ):
                load = median([use.load_share for use in uses]) or 0.0
                own = median([use.cpu_share for use in uses]) or 0.0
                if name != DIRECT and load > LOAD_BOUND and own < SATURATED:
                    bound.append(f"{what} of {name}")
        return f"Set by the load, not by the contestant (compare CPU/request and CPU/chunk): {', '.join(bound)}" * bool(
            bound
        )

    def _ratios(self) -> list[list[str]]:
        """Ours to each, round by round: median (lowest to highest)."""
        rows = [
            ["ours to", "requests/s", "requests per CPU second", "SSE chunks/s", "chunks per CPU second", "added p50"]
        ]
        for ours in (name for name in self.names if name.startswith(OURS)):
            for other in (name for name in self.names if not name.startswith(OURS)):
                pairs = list(zip(self.of(ours), self.of(other), strict=False))
                rows.append(
                    [
                        other if ours == OURS else f"{other} ({ours})",
                        _ratio(pairs, lambda each: each.requests_per_second),
                        _ratio(pairs, lambda each: each.requests_per_cpu_second) if other != DIRECT else "",
                        _ratio(pairs, lambda each: each.chunks_per_second),
                        _ratio(pairs, lambda each: each.chunks_per_cpu_second) if other != DIRECT else "",
                        _added(pairs),
                    ]
                )
        return rows

    def _open_rows(self) -> list[list[str]]:
        head = ["paced streams", "streams", "failures", "CPU of a core", "others", "load", "TTFT p50 / p99"]
        rows = [[*head, "chunk delay p50 / p99", "added to direct", "chunks/s", "RSS"]]
        base = {each.streams: each for each in self.opens if each.contestant == DIRECT}
        for each in self.opens:
            direct = base.get(each.streams)
            rows.append(
                [
                    each.contestant,
                    str(each.streams),
                    str(each.failures),
                    _percent(each.use.cpu_share),
                    _percent(each.use.others_share),
                    _percent(each.use.load_share),
                    f"{_milli(each.ttft_p50_seconds)} / {_milli(each.ttft_p99_seconds)}",
                    f"{_milli(each.delay_p50_seconds)} / {_milli(each.delay_p99_seconds)}",
                    _over(each, direct) if direct is not None and direct is not each else "",
                    f"{each.chunks / each.use.seconds:.0f}",
                    f"{each.use.rss_bytes / MIB:.0f} MiB",
                ]
            )
        return rows


def soak_line(soak: Soak) -> str:
    """What a soak found, in words."""
    first, last = soak.steady[0][1] / MIB, soak.steady[-1][1] / MIB
    return (
        f"Soak of {soak.seconds:.0f} s: {soak.answers} answers, {soak.left} clients left, {soak.failures} failures; "
        f"RSS after the warm-up {first:.1f} MiB, at the end {last:.1f} MiB, grew {soak.growth_bytes / MIB:.2f} MiB, "
        f"slope {soak.bytes_per_hour / MIB:+.2f} MiB/h"
    )


def _p50(sample: Sample) -> float | None:
    return sample.p50_seconds


def _median(samples: Sequence[Sample], figure: Figure) -> float | None:
    return median([figure(sample) for sample in samples])


def _spread(samples: Sequence[Sample], figure: Figure) -> str:
    known = [value for sample in samples if (value := figure(sample)) is not None]
    return f"{median(known):,.0f} ({min(known):,.0f} to {max(known):,.0f})" if known else "-"


def _ratio(pairs: Sequence[tuple[Sample, Sample]], figure: Figure) -> str:
    found = [mine / theirs for ours, other in pairs if (mine := figure(ours)) is not None and (theirs := figure(other))]
    return f"{median(found):.3g} ({min(found):.3g} to {max(found):.3g})" if found else "-"


def _added(pairs: Sequence[tuple[Sample, Sample]]) -> str:
    """Our p50 on one connection less theirs."""
    found = [
        mine - theirs
        for ours, other in pairs
        if (mine := _p50(ours)) is not None and (theirs := _p50(other)) is not None
    ]
    return f"{_milli(median(found))} ({_milli(min(found))} to {_milli(max(found))})" if found else "-"


def _over(each: Open, direct: Open) -> str:
    pairs = ((each.delay_p50_seconds, direct.delay_p50_seconds), (each.delay_p99_seconds, direct.delay_p99_seconds))
    return " / ".join(_milli(mine - base) if mine is not None and base is not None else "-" for mine, base in pairs)


def _milli(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.2f} ms"


def _micro(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e6 * seconds:.1f} us"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *rest])


def _machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()
