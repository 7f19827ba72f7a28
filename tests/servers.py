"""A real PostgreSQL or Valkey for one test process, stopped however that process ends.

A child of its own holds the server and waits on a pipe: when the tests finish, are interrupted or are killed, the
pipe closes, the server stops and its files go.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from sardeenz.run import embedded


class Server:
    """One running server: `place` is its data directory."""

    def __init__(self, kind: str) -> None:
        self.place = Path(tempfile.mkdtemp(prefix=f"srdz-{kind}-"))
        self.place.chmod(0o755)  # so that it works when PostgreSQL has to run as nobody
        argv = [sys.executable, "-m", "tests.servers", kind, str(self.place)]
        root = Path(__file__).resolve().parent.parent
        self._keeper = subprocess.Popen(
            argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline().strip() != "ready":
            log = self.place.with_suffix(".log")
            raise RuntimeError(f"no {kind} for the tests: {log.read_text() if log.exists() else 'see above'}")

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self._keeper.communicate()


def keep(kind: str, place: Path) -> None:
    """Run the server until standard input ends."""
    embedded.prepare_postgres(place) if kind == "postgres" else embedded.prepare(place)
    commands = {
        "postgres": lambda: embedded.postgres_command(place, durable=False),
        "valkey": lambda: embedded.valkey_command(place),
    }
    log = place.with_suffix(".log")
    with log.open("wb") as output:
        server = subprocess.Popen(commands[kind](), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        embedded.wait_ready(place, kind, alive=lambda: server.poll() is None)
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        server.send_signal(signal.SIGINT if kind == "postgres" else signal.SIGTERM)
        server.wait()
    shutil.rmtree(place, ignore_errors=True)
    log.unlink()


if __name__ == "__main__":
    os.environ.pop("SARDEENZ_DATABASE_URL", None)
    keep(sys.argv[1], Path(sys.argv[2]))
