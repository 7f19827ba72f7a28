"""The gateway's numbers as Prometheus text, put together when asked for: counting costs an addition, no more."""

import time
from collections.abc import Iterator, Mapping, Sequence

from gateway.admission.admit import Admission
from gateway.metering import tally
from gateway.metering.meter import Meter
from gateway.metering.tally import Histogram, Sums, Waits
from gateway.outage import Outage
from gateway.routing.table import Router

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_HISTOGRAMS = (
    ("wake", tally.WAKE, "Admission to a ready model."),
    ("queue", tally.QUEUE, "A ready model to a seat at it."),
    ("ttft", tally.TTFT, "Start of a stream to its first content."),
    ("gap", tally.GAP, "Mean time between the pieces of content of one stream."),
    ("e2e", tally.E2E, "Start to end."),
)
_GAUGES = {
    "processes": "Gateway processes behind this port.",
    "in_flight": "Requests an engine works on.",
    "waiting": "Requests that wait for a model to be ready or less busy.",
    "waiting_bytes": "Bytes of the bodies of requests that wait.",
}


def sums(
    router: Router,
    admission: Admission,
    meter: Meter,
    outages: Sequence[Outage],
    captures: Mapping[str, int],
    waiting: Mapping[int, Mapping[str, float | None]],
) -> Sums:
    """What this process has to say."""
    return Sums(
        tallies=meter.tallies,
        faults={outage.what: outage.times for outage in outages},
        dropped=meter.dropped,
        captures=dict(captures),
        gauges={
            "processes": 1,
            "in_flight": sum(router.leases().values()),
            "waiting": admission.waiting,
            "waiting_bytes": admission.waiting_bytes,
        },
        waits=_waits(router, waiting),
    )


def _waits(router: Router, waiting: Mapping[int, Mapping[str, float | None]]) -> dict[str, Waits]:
    """Of every model there is, so that a series does not end when nobody waits."""
    now = time.time()
    waits = {}
    for route in router.table.routes:
        held = waiting.get(route.deployment_id, {})
        counts = {"ready": int(held.get("count") or 0), "queue": int(held.get("queued") or 0)}
        oldest = [at for at in (held.get("since"), held.get("queued_since")) if at is not None]
        waits[route.served_name] = Waits(counts, max(0.0, now - min(oldest)) if oldest else 0.0)
    return waits


def text(totals: Sums) -> bytes:
    """The text of one process's sums, or of several added up."""
    lines = [*_calls(totals), *_tokens(totals), *_seconds(totals)]
    for gauge, about in _GAUGES.items():
        name = f"sardeenz_gateway_{gauge}"
        lines += [*head(name, "gauge", about), line(name, {}, totals.gauges.get(gauge, 0))]
    lines += _waiting(totals)
    lines += head("sardeenz_gateway_faults_total", "counter", "Failures of something the gateway needs.")
    lines += [line("sardeenz_gateway_faults_total", {"what": what}, times) for what, times in totals.faults.items()]
    return ("\n".join(lines) + "\n").encode()


def _waiting(totals: Sums) -> Iterator[str]:
    name = "sardeenz_gateway_waiting_calls"
    yield from head(name, "gauge", "Calls that wait for this model to be ready, or in its queue.")
    for model, waits in totals.waits.items():
        for reason, count in waits.counts.items():
            yield line(name, {"model": model, "for": reason}, count)
    name = "sardeenz_gateway_longest_wait_seconds"
    yield from head(name, "gauge", "How long the oldest of them has waited.")
    for model, waits in totals.waits.items():
        yield line(name, {"model": model}, waits.longest_seconds)


def _calls(totals: Sums) -> Iterator[str]:
    name = "sardeenz_gateway_calls_total"
    yield from head(name, "counter", "Finished calls.")
    for model, counted in totals.tallies.items():
        for (path, status, outcome), count in counted.calls.items():
            yield line(name, {"model": model, "path": path, "status": str(status), "outcome": outcome}, count)
    name = "sardeenz_gateway_refused_total"
    yield from head(name, "counter", "Calls refused before any model was asked: bad keys, unknown models and paths.")
    for code, count in totals.refused.items():
        yield line(name, {"code": code}, count)
    yield from head("sardeenz_gateway_usage_dropped_total", "counter", "Usage records that could not be kept.")
    yield line("sardeenz_gateway_usage_dropped_total", {}, totals.dropped)
    name = "sardeenz_gateway_captures_total"
    yield from head(name, "counter", "Calls to be captured: kept, missed (too many to copy), dropped (Redis away).")
    for result, count in totals.captures.items():
        yield line(name, {"result": result}, count)


def _tokens(totals: Sums) -> Iterator[str]:
    name = "sardeenz_gateway_tokens_total"
    yield from head(name, "counter", "Tokens as the engines counted them in their answers.")
    for model, counted in totals.tallies.items():
        for kind in ("prompt", "cached", "completion"):
            yield line(name, {"model": model, "kind": kind}, getattr(counted, kind))


def _seconds(totals: Sums) -> Iterator[str]:
    for phase, bounds, about in _HISTOGRAMS:
        name = f"sardeenz_gateway_{phase}_seconds"
        yield from head(name, "histogram", about)
        for model, counted in totals.tallies.items():
            yield from _buckets(name, model, bounds, getattr(counted, phase))


def _buckets(name: str, model: str, bounds: Sequence[float], histogram: Histogram) -> Iterator[str]:
    count = 0
    for bound, inside in zip([*map(str, bounds), "+Inf"], histogram.counts, strict=True):
        count += inside
        yield line(f"{name}_bucket", {"model": model, "le": bound}, count)
    yield line(f"{name}_sum", {"model": model}, histogram.total)
    yield line(f"{name}_count", {"model": model}, count)


def head(name: str, kind: str, about: str) -> list[str]:
    """What stands above the samples of one metric."""
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def line(name: str, labels: dict[str, str], value: float) -> str:
    """The result is one sample in Prometheus's text format, without a line end; label values are escaped here."""
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
