"""Whether the environment asks for traces, in OpenTelemetry's own variables, and whether they could be sent. Pure."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
PACKAGES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")


def wanted(environ: Mapping[str, str]) -> str | None:
    """The variable that asks for traces; None where none does, or another says no."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return None
    return next((name for name in ENDPOINTS if environ.get(name, "").strip()), None)


def obstacle(environ: Mapping[str, str]) -> str | None:
    """Why traces that are wanted cannot be sent, and what to do about it."""
    name = wanted(environ)
    if name is None:
        return None
    if not environ[name].strip().lower().startswith(("http://", "https://")):
        return f"{name} must begin with http:// or https://"
    for name in PROTOCOLS:
        protocol = environ.get(name, "").strip()
        if protocol not in ("", PROTOCOL):
            return f"{name} is {protocol[:100]}, and only {PROTOCOL} is spoken: unset it, and name that port's endpoint"
    missing = [package for package in PACKAGES if not _installed(package)]
    if missing:
        return f"{' and '.join(missing)} not installed: install `sardeenz[otel]`"
    return None


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
