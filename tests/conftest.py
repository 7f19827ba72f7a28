"""Every test runs on a real PostgreSQL (one per run, a database per process) and a real Valkey (one per process).

The environment is set while this file is imported, which is before Django reads its settings.
"""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import hypothesis
import pytest
import redis
from django.conf import settings

from sardeenz import env
from tests.servers import Server

_POSTGRES = "SARDEENZ_TEST_POSTGRES"
_running: list[Server] = []
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A run that was begun in the background ignores Ctrl-C, and so would every program that a test sends one to.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _start_servers() -> Path:
    """Start what this process needs and return its Valkey's folder; xdist workers share the first one's PostgreSQL."""
    if _POSTGRES not in os.environ:
        _running.append(Server("postgres"))
        os.environ[_POSTGRES] = str(_running[0].place)
    _running.append(Server("valkey"))
    return _running[-1].place


def _set_environment(valkey: Path) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    number = int(worker.removeprefix("gw")) + 1 if worker.startswith("gw") else 0
    for name in [name for name in os.environ if name.startswith("SARDEENZ_") and not name.startswith("SARDEENZ_TEST_")]:
        del os.environ[name]
    data_dir = Path(tempfile.mkdtemp(prefix="data-", dir=valkey))
    segments = data_dir / "shm"
    segments.mkdir()
    (data_dir / "static").mkdir()  # WhiteNoise warns of a missing one
    os.environ |= {
        "HF_HUB_OFFLINE": "1",  # what asks the Hub in a test asks a double of it
        "DJANGO_SETTINGS_MODULE": "sardeenz.settings",
        "SARDEENZ_DATA_DIR": str(data_dir),
        "SARDEENZ_SEGMENT_DIR": str(segments),
        "SARDEENZ_DATABASE_URL": f"postgresql://postgres@/sardeenz?host={env.run_dir(Path(os.environ[_POSTGRES]))}",
        "SARDEENZ_REDIS_URL": env.embedded_redis_url(valkey),
        "SARDEENZ_SECRET_KEY": f"a-secret-of-the-tests-only-{worker}-{os.getpid()}",
        "SARDEENZ_GPUS": "simulated:2x80GiB",
        "SARDEENZ_NODE": f"test-{worker}",
        "SARDEENZ_ENGINE_PORTS": f"{20000 + number * 200}-{20199 + number * 200}",
        "SARDEENZ_LOG_LEVEL": "WARNING",
    }


# How fast a machine is fails no test.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")
_set_environment(_start_servers())
django.setup()
# Workers of xdist inherit our environment: with this in it, pytest-django would read the settings before they get here.
_SETTINGS = os.environ.pop("DJANGO_SETTINGS_MODULE")


def pytest_unconfigure() -> None:
    """Stop the servers, also after Ctrl-C."""
    while _running:
        _running.pop().stop()


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def _valkey() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(os.environ["SARDEENZ_REDIS_URL"])
    yield client
    client.close()


@pytest.fixture(autouse=True)
def _empty_valkey(_valkey: redis.Redis) -> None:
    """No test sees the keys of another."""
    _valkey.flushall()


@pytest.fixture
def service_environment(transactional_db: None) -> dict[str, str]:
    """The environment for our own programs run as processes: the same servers, the test's own database."""
    name = settings.DATABASES["default"]["NAME"]
    url = os.environ["SARDEENZ_DATABASE_URL"].replace("@/sardeenz?", f"@/{name}?")
    return {**os.environ, "DJANGO_SETTINGS_MODULE": _SETTINGS, "SARDEENZ_DATABASE_URL": url}
