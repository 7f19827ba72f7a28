"""Settings that do not fit together are said before they hurt."""

from typing import Any

import pytest

from sardeenz import checks


@pytest.mark.parametrize(
    ("check", "changes", "found"),
    [
        (checks.ports, {}, []),
        (checks.ports, {"WEB_PORT": 9000, "GATEWAY_PORT": 9000}, ["sardeenz.E001"]),
        (checks.ports, {"WEB_PORT": 20001, "ENGINE_PORTS": range(20000, 20010)}, ["sardeenz.E002"]),
        (checks.shared_servers, {"NODE_ADDRESS": "10.0.0.4"}, ["sardeenz.W001"]),
        (checks.shared_servers, {"NODE_ADDRESS": "10.0.0.4", "REDIS_URL": "redis://10.0.0.1"}, []),
        (checks.public_hosts, {"HOST": "0.0.0.0", "ALLOWED_HOSTS": ["localhost"]}, ["sardeenz.W002", "sardeenz.W003"]),
        (checks.public_hosts, {"HOST": "0.0.0.0", "ALLOWED_HOSTS": ["a.b"], "SESSION_COOKIE_SECURE": True}, []),
        (checks.durations, {"GATEWAY_TTL_SECONDS": 1.0}, ["sardeenz.E003"]),
        (checks.durations, {}, []),
    ],
)
def test_settings_are_checked_together(settings: Any, check: Any, changes: dict[str, Any], found: list[str]) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    assert [message.id for message in check(None)] == found
