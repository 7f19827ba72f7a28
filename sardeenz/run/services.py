"""Which processes make an installation, and how supervisord is told about them. Pure.

A service's environment carries SARDEENZ_SERVICE=<tag of the data directory>:<name>, and one that was forked has both
in its title: by them a later start finds what an earlier one left behind.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sardeenz.celery import BENCHMARKS_QUEUE, CONTROL_QUEUE, gpu_queue
from sardeenz.run import embedded

MARKER = "SARDEENZ_SERVICE"
SUPERVISOR = "supervisor"
POSTGRES = "postgres"
VALKEY = "valkey"
GATEWAY = "gateway"
WEB = "web"
_CELERY = (sys.executable, "-m", "celery", "--skip-checks", "-A", "sardeenz")
_WORKER_FLAGS = ("--pool", "solo", "--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, slots=True)
class Service:
    """One program. Lower priorities start first and stop last."""

    name: str
    argv: tuple[str, ...]
    priority: int
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    processes: int = 1
    listen: str | None = None  # host:port of a socket that all its processes share


def tag(data_dir: Path) -> str:
    """Tells the processes of one data directory from those of another."""
    return hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]


def title(marker: str) -> str:
    """What `ps` shows for the service that bears this marker, TAG:NAME: a forked one cannot show its environment."""
    of, _, name = marker.partition(":")
    return f"sardeenz {name} [{of}]"


def named(shown: str, of: str) -> str | None:
    """The name of the service that `ps` shows so, if it belongs to this data directory's tag."""
    begin, end = "sardeenz ", f" [{of}]"
    return shown[len(begin) : -len(end)] if shown.startswith(begin) and shown.endswith(end) else None


def servers(data_dir: Path, *, postgres: bool, valkey: bool) -> list[Service]:
    """The embedded servers that are wanted."""
    found = []
    if postgres:
        found.append(Service(POSTGRES, tuple(embedded.postgres_command(data_dir)), 10, "INT", 60))
    if valkey:
        found.append(Service(VALKEY, tuple(embedded.valkey_command(data_dir)), 10))
    return found


def node_services(gpu_uuids: Iterable[str]) -> list[Service]:
    """What every node runs: one worker per GPU, the only hands on its engines, and the loop that reads the node."""
    loop = Service("node", (sys.executable, "-m", "django", "run_node"), 40)
    return [*(_worker(f"gpu-{uuid}", gpu_queue(uuid)) for uuid in gpu_uuids), loop]


def control_services(*, host: str, web_port: int, gateway_port: int, gateways: int) -> list[Service]:
    """What one node of an installation runs besides: web, gateways, beat and the control worker."""
    web = (sys.executable, "-m", "daphne", "-b", host, "-p", str(web_port), "--no-server-name", "-v", "0")
    beat = (*_CELERY, "beat", "--pidfile=")
    return [
        _worker(CONTROL_QUEUE, f"{CONTROL_QUEUE},{BENCHMARKS_QUEUE}"),
        Service("beat", beat, 40),
        Service(WEB, (*web, "sardeenz.asgi:application"), 50, stop_seconds=10),
        Service(
            GATEWAY,
            (sys.executable, "-m", "sardeenz.run.serve_gateway"),
            50,
            stop_seconds=30,  # open streams may end
            processes=gateways,
            listen=f"{host}:{gateway_port}",
        ),
    ]


def _worker(name: str, queue: str) -> Service:
    return Service(name, (*_CELERY, "worker", "-Q", queue, "-n", f"{name}@%h", *_WORKER_FLAGS), 30)


def supervisor_section(run_dir: Path, log_dir: Path) -> str:
    """The configuration of supervisord itself; it is controlled over a socket only we may open."""
    user = "user=root\n" if os.geteuid() == 0 else ""
    return (
        f"[unix_http_server]\nfile={run_dir}/supervisor.sock\nchmod=0700\n\n"
        f"[supervisord]\nnodaemon=true\nsilent=true\n{user}logfile={log_dir}/supervisord.log\n"
        f"pidfile={run_dir}/supervisord.pid\nchildlogdir={log_dir}\nlogfile_maxbytes=1MB\nlogfile_backups=1\n\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
        f"[include]\nfiles={run_dir}/services/*.conf\n"
    )


def section(service: Service, *, data_dir_tag: str, directory: Path, log_dir: Path) -> str:
    """The configuration of one service. Whatever ends it, it is started again."""
    kind = "fcgi-program" if service.listen else "program"
    lines = {
        "command": " ".join(_quoted(word) for word in service.argv),
        "process_name": "%(program_name)s-%(process_num)d" if service.processes > 1 else "%(program_name)s",
        "numprocs": service.processes,
        "directory": _escaped(str(directory)),
        "priority": service.priority,
        "autorestart": "true",
        "startsecs": 2,
        "startretries": 1000,
        "stopsignal": service.stop_signal,
        "stopwaitsecs": service.stop_seconds,
        # PostgreSQL is stopped through its postmaster alone.
        "stopasgroup": "false" if service.name == POSTGRES else "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"{_escaped(str(log_dir))}/%(program_name)s.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 2,
        "environment": f'{MARKER}="{data_dir_tag}:{service.name}"',
    }
    if service.processes > 1:
        lines["stdout_logfile"] = f"{_escaped(str(log_dir))}/%(program_name)s-%(process_num)d.log"
    if service.listen:
        lines |= {"socket": f"tcp://{service.listen}", "socket_backlog": 2048}
    return f"[{kind}:{service.name}]\n" + "".join(f"{name}={value}\n" for name, value in lines.items())


def _quoted(word: str) -> str:
    """One word of a command as supervisord reads it: shell quotes, and % doubled."""
    escaped = _escaped(word)
    return f"'{escaped}'" if any(character in escaped for character in ' \t"#;\\') or not escaped else escaped


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
