"""`sardeenz up`: everything of one installation, or one more node of it, until Ctrl-C."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from django.conf import settings
from django.core.management import call_command
from rich.console import Console

from gpus import devices
from gpus.installation import installation_id
from sardeenz import env
from sardeenz.cli import config
from sardeenz.cli.output import examples
from sardeenz.locks import locked
from sardeenz.run import banner, embedded, engines_left, forks, leftovers, services
from sardeenz.run.supervise import Supervisor, SupervisorFailed

ANSWER_SECONDS = 90.0
PORT_SECONDS = 10.0
console = Console(highlight=False)


class CannotStart(RuntimeError):
    """Something outside Sardeenz has to change first; the message says what."""


app = typer.Typer()


@app.command(
    epilog=examples("sardeenz up", "SARDEENZ_GPUS=simulated:2x80GiB sardeenz up", "sardeenz up --workers-only")
)
def up(
    keep_engines: Annotated[
        bool | None, typer.Option(help="leave engines running at the end; the next start adopts them")
    ] = None,
    workers_only: Annotated[
        bool, typer.Option("--workers-only", help="join another node's installation with this node's GPUs")
    ] = False,
) -> None:
    """Start everything and stay in the foreground; Ctrl-C stops it again."""
    keep = settings.KEEP_ENGINES if keep_engines is None else keep_engines
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where a shell had SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        with _alone(settings.DATA_DIR):
            _run(workers_only=workers_only, keep_engines=keep)
    except (CannotStart, SupervisorFailed, embedded.EmbeddedServerError, RuntimeError) as error:
        console.print(f"[red]Sardeenz cannot start:[/] {error}")
        raise typer.Exit(1) from error


@app.command(epilog=examples("sardeenz password"))
def password() -> None:
    """Give the first admin a new password."""
    forks.preload()
    made = _first_run(new_password=True)
    console.print(f"user {made['username']}, password {made['password']}")


def _run(*, workers_only: bool, keep_engines: bool) -> None:
    if workers_only and (not settings.DATABASE_URL or settings.REDIS_URL.startswith("unix://")):
        raise CannotStart("--workers-only needs SARDEENZ_DATABASE_URL and SARDEENZ_REDIS_URL of the installation")
    if found := leftovers.retire(settings.DATA_DIR):
        console.print(f"[yellow]Took over from an earlier run that did not end properly:[/] {', '.join(found)}")
    if not workers_only:
        _check_ports()
    supervisor = Supervisor(settings.DATA_DIR, settings.BASE_DIR)
    try:
        _start(supervisor, workers_only=workers_only)
        _watch(supervisor)
    except KeyboardInterrupt:
        console.print("\nStopping. Press Ctrl-C again to stop at once.")
    finally:
        _stop(supervisor, keep_engines=keep_engines)


def _start(supervisor: Supervisor, *, workers_only: bool) -> None:
    wanted = services.servers(
        settings.DATA_DIR, postgres=not settings.DATABASE_URL, valkey=settings.REDIS_URL.startswith("unix://")
    )
    console.print("Starting the servers", style="dim")
    _prepare_servers({service.name for service in wanted})
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    forks.preload()
    supervisor.forget_services()
    supervisor.start()
    with console.status("Starting the servers"):
        supervisor.add(wanted)
        for service in wanted:
            _wait_ready(supervisor, service.name)
    console.print("Preparing the database and looking at this node", style="dim")  # no thread may run while we fork
    if not settings.DATABASE_URL:
        forks.ask(embedded.ensure_database, settings.DATA_DIR)
    made = _first_run() if not workers_only else _joined()
    gpu_uuids = forks.ask(_gpu_uuids)
    here = services.node_services(gpu_uuids)
    if workers_only:
        supervisor.add(here)
        return console.print(f"This node's {len(gpu_uuids)} GPUs joined. Ctrl-C takes them out again.")
    with console.status("Starting workers, web and gateways"):
        control = services.control_services(
            host=settings.HOST,
            web_port=settings.WEB_PORT,
            gateway_port=settings.GATEWAY_PORT,
            gateways=settings.GATEWAY_PROCESSES,
        )
        supervisor.add([*here, *control])
        _wait_answers(supervisor)
    banner.show(console, made, log_dir=supervisor.log_dir, data_dir=settings.DATA_DIR)


def _wait_ready(supervisor: Supervisor, name: str) -> None:
    embedded.wait_ready(settings.DATA_DIR, name, alive=lambda: not supervisor.has_failed(name))


def _watch(supervisor: Supervisor) -> None:
    """Say what falls over and comes back, and replace supervisord itself."""
    known: dict[str, str] = {}
    while True:
        time.sleep(1.0)
        if supervisor.revive(_check_ports):
            console.print("[yellow]supervisord ended and was started again[/]")
        try:
            now = supervisor.states()
        except SupervisorFailed:
            continue  # it has just ended: the next round starts it again
        for name, state in now.items():
            if state != known.get(name, "RUNNING") and state != "STARTING":
                group = name.partition(":")[0]
                hint = "" if state == "RUNNING" else f", will be started again; log: {supervisor.log_dir}/{group}*.log"
                console.print(f"{group}: {state.lower()}{hint}")
        known = now


def _stop(supervisor: Supervisor, *, keep_engines: bool) -> None:
    """Stop the services, then the engines unless they are to stay. A second Ctrl-C cuts both short."""
    try:
        with console.status("Letting open requests finish and stopping"):
            if not keep_engines:
                engines_left.remember(installation_id())
            supervisor.stop()
            kept = engines_left.count(installation_id()) if keep_engines else 0
            if not keep_engines:
                engines_left.stop(installation_id(), settings.SEGMENT_DIR, seconds=settings.STOP_SECONDS)
    except KeyboardInterrupt:
        supervisor.hurry()
        if not keep_engines:
            engines_left.stop(installation_id(), settings.SEGMENT_DIR, seconds=0)
        kept = 0
    console.print(f"Stopped; {kept} engines stay." if kept else "Stopped.")


def _prepare_servers(names: set[str]) -> None:
    if services.POSTGRES in names:
        embedded.prepare_postgres(settings.DATA_DIR)
    else:
        embedded.prepare(settings.DATA_DIR)


def _check_ports() -> None:
    """Both ports must be free; gateways of an earlier run give theirs up within a moment."""
    for name in ("SARDEENZ_WEB_PORT", "SARDEENZ_GATEWAY_PORT"):
        port = getattr(settings, name.removeprefix("SARDEENZ_"))
        deadline = time.monotonic() + PORT_SECONDS if leftovers.find(settings.DATA_DIR) else 0
        while error := _taken(settings.HOST, port):
            if time.monotonic() > deadline:
                raise CannotStart(f"{settings.HOST}:{port} cannot be had ({error}); set {name} to another port")
            time.sleep(0.1)


def _taken(host: str, port: int) -> str | None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            return error.strerror
    return None


def _wait_answers(supervisor: Supervisor) -> None:
    host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::") else settings.HOST  # noqa: S104
    deadline = time.monotonic() + ANSWER_SECONDS
    for name, port in ((services.WEB, settings.WEB_PORT), (services.GATEWAY, settings.GATEWAY_PORT)):
        while not _answers(f"http://{host}:{port}/health"):
            if supervisor.has_failed(name) or time.monotonic() > deadline:
                raise CannotStart(f"the {name} does not answer: see {supervisor.log_dir}/{name}*.log")
            time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return bool(httpx2.get(url, timeout=5, trust_env=False).status_code == 200)
    except httpx2.TransportError:
        return False


def _gpu_uuids() -> list[str]:
    return [reading.uuid for reading in devices.read_all()]


def _first_run(*, new_password: bool = False) -> dict[str, Any]:
    """Prepare the installation and keep what the command line needs; a new password moves no address."""
    kept = config.load(settings.DATA_DIR)
    asked = {"token": kept.token, "api_key": kept.api_key, "new_password": new_password}
    prepared: dict[str, Any] = json.loads(_manage("first_run", **asked))
    addressed = kept if new_password and kept.url else config.Config(**_addresses())
    config.save(settings.DATA_DIR, replace(addressed, token=prepared["token"], api_key=prepared["api_key"]))
    return prepared


def _addresses() -> dict[str, str]:
    """Where this installation is to be reached from here."""
    host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::") else settings.HOST  # noqa: S104
    return {"url": f"http://{host}:{settings.WEB_PORT}", "gateway_url": f"http://{host}:{settings.GATEWAY_PORT}"}


def _joined() -> dict[str, Any]:
    _manage("join_node")
    return {}


def _manage(command: str, **options: Any) -> str:
    """What a management command prints last."""
    try:
        return forks.ask(_managed, command, options)
    except forks.ForkFailed as error:
        raise CannotStart(f"`{command}` failed:\n{error}") from error


def _managed(command: str, options: dict[str, Any]) -> str:
    printed = StringIO()
    call_command(command, stdout=printed, skip_checks=False, **options)
    return (printed.getvalue().splitlines() or [""])[-1]


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold the data directory, so that two starts do not retire each other's processes."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with locked(data_dir / "up.lock", wait=False) as ours:
        if not ours:
            raise CannotStart(f"it already runs from {env.text('SARDEENZ_DATA_DIR', str(data_dir))}")
        yield


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
