"""Mistakes that only show when settings are seen together. Shown by `sardeenz up` and `manage.py check`."""

import os
from collections.abc import Sequence

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error

from sardeenz import env, otel

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def ports(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """The web, the gateway and the engines need ports of their own."""
    found: list[CheckMessage] = []
    if settings.WEB_PORT == settings.GATEWAY_PORT:
        found.append(
            Error("the web and the gateway have the same port", hint="change SARDEENZ_GATEWAY_PORT", id="sardeenz.E001")
        )
    for name in ("WEB_PORT", "GATEWAY_PORT"):
        if getattr(settings, name) in settings.ENGINE_PORTS:
            hint = f"change SARDEENZ_{name} or SARDEENZ_ENGINE_PORTS"
            found.append(Error(f"SARDEENZ_{name} lies among the ports of the engines", hint=hint, id="sardeenz.E002"))
    return found


def shared_servers(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """A node other machines reach must not keep its servers to itself."""
    embedded = not settings.DATABASE_URL or settings.REDIS_URL.startswith("unix://")
    if embedded and settings.NODE_ADDRESS not in _LOCAL:
        hint = "set SARDEENZ_DATABASE_URL and SARDEENZ_REDIS_URL, the same on every node"
        return [checks.Warning("other nodes cannot reach the embedded servers", hint=hint, id="sardeenz.W001")]
    return []


def public_hosts(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Listening beyond this machine needs the names people will use, and TLS in front."""
    found: list[CheckMessage] = []
    if settings.HOST in _LOCAL:
        return found
    if set(settings.ALLOWED_HOSTS) <= _LOCAL | {"[::1]"}:
        hint = "add the names people use to SARDEENZ_ALLOWED_HOSTS"
        found.append(checks.Warning("only this machine's own names are allowed", hint=hint, id="sardeenz.W002"))
    if not settings.SESSION_COOKIE_SECURE:
        hint = "put TLS in front and set SARDEENZ_HTTPS=true"
        found.append(checks.Warning("passwords and keys travel in the clear", hint=hint, id="sardeenz.W003"))
    return found


def durations(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """A gateway's report must outlive the second between two of them."""
    if 3 * max(settings.ROUTE_TTL_SECONDS, 1) > settings.GATEWAY_TTL_SECONDS:
        hint = "raise SARDEENZ_GATEWAY_TTL_SECONDS to at least three times SARDEENZ_ROUTE_TTL_SECONDS"
        return [Error("gateways would be taken for dead between two reports", hint=hint, id="sardeenz.E003")]
    return []


def traces(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Traces that are asked for can be sent."""
    why = otel.obstacle(os.environ)
    return [checks.Warning("calls are not traced", hint=why, id="sardeenz.W004")] if why else []


def names(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """A setting under an old name is read for one more release."""
    return [
        checks.Warning(f"{old} has another name now", hint=f"call it {name}", id="sardeenz.W005")
        for old, name in env.OUTDATED.items()
    ]


def register_all() -> None:
    """Make them part of `manage.py check`."""
    for check in (ports, shared_servers, public_hosts, durations, traces, names):
        checks.register(check, "sardeenz")
