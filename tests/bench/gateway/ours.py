"""Our own gateway as in production: processes on a shared socket, real rows, a real PostgreSQL and Valkey."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sardeenz import env
from sardeenz.run import embedded
from tests.bench.gateway.machine import NotMeasured, Program
from tests.servers import Server

ROOT = Path(__file__).resolve().parents[3]
_WITH_DJANGO = "import django, runpy; django.setup(); runpy.run_module('tests.bench.gateway.rows', run_name='__main__')"


@dataclass(frozen=True, slots=True)
class Installation:
    """Servers and rows. `keys` are "limited" and "free"."""

    environment: dict[str, str]
    keys: dict[str, str]
    logs: Path

    @contextmanager
    def gateway(
        self, port: int, cores: Sequence[int], *, processes: int = 1, tree: Path = ROOT
    ) -> Iterator[list[Program]]:
        """Gateway processes on one listening socket, as under supervisord; one core for each in turn."""
        # -P: the code is that of `tree`, wherever the benchmark was started
        argv = [sys.executable, "-P", "-m", "sardeenz.run.serve_gateway"]
        environment = self.environment | {
            "SARDEENZ_GATEWAY_PORT": str(port),
            "SARDEENZ_GATEWAY_PROCESSES": str(processes),
            "PYTHONPATH": str(tree),
        }
        running: list[Program] = []
        with socket.create_server(("127.0.0.1", port), backlog=2048) as listener:
            try:
                for place in range(processes):
                    log = self.logs / f"gateway-{port}-{place}.log"
                    core = [cores[place % len(cores)]]
                    running.append(Program(argv, cores=core, log=log, environment=environment, stdin=listener))
                listener.close()
                yield running
            finally:
                for program in running:
                    program.__exit__(None, None, None)


@contextmanager
def installation(engine_port: int, place: Path) -> Iterator[Installation]:
    """Start PostgreSQL and Valkey, on whatever cores we run on, and write the rows."""
    postgres = Server("postgres")
    try:
        valkey = Server("valkey")
        try:
            environment = _environment(postgres.place, valkey.place, place)
            embedded.ensure_database(postgres.place)
            yield Installation(environment, _rows(environment, engine_port), place)
        finally:
            valkey.stop()
    finally:
        postgres.stop()


def _environment(postgres: Path, valkey: Path, place: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SARDEENZ_")}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "sardeenz.settings",
        "SARDEENZ_DATA_DIR": str(place),
        "SARDEENZ_SEGMENT_DIR": str(place),
        "SARDEENZ_DATABASE_URL": f"postgresql://postgres@/sardeenz?host={env.run_dir(postgres)}",
        "SARDEENZ_REDIS_URL": env.embedded_redis_url(valkey),
        "SARDEENZ_SECRET_KEY": "a-secret-of-the-benchmark-only-0123456789",
        "SARDEENZ_GPUS": "simulated:1x80GiB",
        "SARDEENZ_NODE": "bench",
        "SARDEENZ_LOG_LEVEL": "WARNING",
    }


def _rows(environment: dict[str, str], engine_port: int) -> dict[str, str]:
    argv = [sys.executable, "-c", _WITH_DJANGO, str(engine_port)]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise NotMeasured(f"the rows could not be written: {done.stderr.strip()[-1000:]}")
    keys: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return keys
