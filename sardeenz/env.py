"""Typed reading of environment variables; a bad value stops the program with its name and the fix."""

import hashlib
import math
import os
import secrets
import socket
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from sardeenz import sizes

OUTDATED: dict[str, str] = {}
"""Variables that are set under a name they no longer have, and the name they have now."""
_SOCKET_PATH_BYTES = 100  # the kernel allows 107


def text(name: str, default: str) -> str:
    """The variable's text, or `default` when it is unset or empty."""
    return os.environ.get(name) or default


def renamed(name: str, *, old: str) -> str:
    """The name under which the setting is to be read: the old one where only that is set, for one more release."""
    if os.environ.get(old) and not os.environ.get(name):
        OUTDATED[old] = name
        return old
    return name


def flag(name: str, default: bool) -> bool:
    """A boolean: 1/true/yes/on or 0/false/no/off."""
    value = text(name, "1" if default else "0").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is not a boolean: use true or false")


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """A whole number not below `minimum`."""
    value = text(name, str(default))
    if not value.lstrip("-").isdigit() or int(value) < minimum:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number of at least {minimum}")
    return int(value)


def seconds(name: str, default: float) -> float:
    """A duration in seconds, not negative."""
    value = text(name, str(default))
    try:
        duration = float(value)
    except ValueError:
        duration = -1.0
    if duration < 0:
        raise ImproperlyConfigured(f"{name}={value!r} is not a number of seconds: use for example 30 or 0.5")
    return duration


def seconds_by_priority(name: str, default: str) -> dict[int, float]:
    """Durations by priority, written as PRIORITY:SECONDS with spaces between."""
    value = text(name, default)
    try:
        found = {int(priority): float(length) for priority, length in (pair.split(":") for pair in value.split())}
    except ValueError:
        found = {}
    if not found or not all(0 <= length < math.inf for length in found.values()):
        raise ImproperlyConfigured(f"{name}={value!r} is not seconds by priority: use for example '-1:2 0:5 1:30'")
    return found


def size_bytes(name: str, default: str) -> int:
    """A size in bytes, written like 80GiB."""
    try:
        return sizes.parse(text(name, default))
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from error


def words(name: str, default: str) -> list[str]:
    """A comma-separated list; empty entries are dropped."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def secret(name: str, path: Path) -> str:
    """The variable, the file named by NAME_FILE, or a random secret kept in `path` with mode 0600."""
    if value := os.environ.get(name):
        return value
    if file := os.environ.get(f"{name}_FILE"):
        return Path(file).read_text().strip()
    return kept_secret(path)


def kept_secret(path: Path) -> str:
    """The secret in `path`, made on first use; two programs starting at once agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another program was first; its secret is the one
        finally:
            draft.unlink()
    return path.read_text().strip()


def port_range(name: str, default: str) -> range:
    """Ports as FIRST-LAST, both included."""
    value = text(name, default)
    first, _, last = value.partition("-")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last) < 65536):
        raise ImproperlyConfigured(f"{name}={value!r} is not a range of ports: use for example 18100-18999")
    return range(int(first), int(last) + 1)


def host_name() -> str:
    """This machine's name, the default name of its node."""
    return socket.gethostname()


def run_dir(data_dir: Path) -> Path:
    """Where sockets live: in the data directory, or under /tmp when that path is too long for a unix socket."""
    place = data_dir / "run"
    if len(os.fsencode(place)) + len("/.s.PGSQL.5432") <= _SOCKET_PATH_BYTES:
        return place
    return Path("/tmp") / f"sardeenz-{os.getuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"


def embedded_redis_url(data_dir: Path) -> str:
    """Where the embedded Valkey listens: a unix socket no other user can reach."""
    return f"unix://{run_dir(data_dir) / 'valkey.sock'}"


def database(url: str, data_dir: Path) -> dict[str, object]:
    """Django's database settings from postgresql://user:password@host:port/name, or for the embedded server."""
    common: dict[str, object] = {"ENGINE": "django.db.backends.postgresql", "CONN_HEALTH_CHECKS": True}
    if not url:
        place = {"NAME": "sardeenz", "USER": "postgres", "HOST": str(run_dir(data_dir)), "PORT": ""}
        return common | place | {"CONN_MAX_AGE": 60}
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise ImproperlyConfigured("SARDEENZ_DATABASE_URL must look like postgresql://user:password@host:5432/name")
    query = dict(parse_qsl(parts.query))
    place = {
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", "") or parts.hostname or "",
        "PORT": str(parts.port or ""),
    }
    return common | place | {"CONN_MAX_AGE": 60, "OPTIONS": query}
