"""The gateway's numbers as Prometheus text, put together when asked for: counting costs an addition, no more."""

from collections.abc import Iterator

from gateway.admission import Admission
from gateway.metering import Meter
from gateway.outage import Outage
from gateway.routing import Router

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def render(router: Router, admission: Admission, meter: Meter, outages: tuple[Outage, ...]) -> bytes:
    """All series of this process."""
    lines = [*_calls(meter), *_sums(meter), *_now(router, admission)]
    lines += _head("sardeenz_gateway_faults_total", "counter", "Failures of something the gateway needs.")
    lines += [_line("sardeenz_gateway_faults_total", {"what": outage.what}, outage.times) for outage in outages]
    return ("\n".join(lines) + "\n").encode()


def _calls(meter: Meter) -> Iterator[str]:
    name = "sardeenz_gateway_calls_total"
    yield from _head(name, "counter", "Finished calls.")
    for (model, path, status, outcome), count in meter.calls.items():
        yield _line(name, {"model": model, "path": path, "status": str(status), "outcome": outcome}, count)
    yield from _head("sardeenz_gateway_usage_dropped_total", "counter", "Usage records that could not be kept.")
    yield _line("sardeenz_gateway_usage_dropped_total", {}, meter.dropped)


def _sums(meter: Meter) -> Iterator[str]:
    yield from _head("sardeenz_gateway_tokens_total", "counter", "Tokens as the engines counted them.")
    for (model, kind), count in meter.tokens.items():
        yield _line("sardeenz_gateway_tokens_total", {"model": model, "kind": kind}, count)
    for phase, words in (
        ("wake", "Admission to a ready model"),
        ("ttft", "Start to first content"),
        ("e2e", "Start to end"),
    ):
        name = f"sardeenz_gateway_{phase}_seconds"
        yield from _head(name, "summary", f"{words}.")
        for (model, _), (count, total) in meter.phases(phase):
            yield _line(f"{name}_sum", {"model": model}, total)
            yield _line(f"{name}_count", {"model": model}, count)


def _now(router: Router, admission: Admission) -> Iterator[str]:
    yield from _head("sardeenz_gateway_in_flight", "gauge", "Requests an engine works on.")
    yield _line("sardeenz_gateway_in_flight", {}, sum(router.leases().values()))
    yield from _head("sardeenz_gateway_waiting", "gauge", "Requests held until a model is ready.")
    yield _line("sardeenz_gateway_waiting", {}, admission.waiting)
    yield from _head("sardeenz_gateway_waiting_bytes", "gauge", "Their bodies.")
    yield _line("sardeenz_gateway_waiting_bytes", {}, admission.waiting_bytes)


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
