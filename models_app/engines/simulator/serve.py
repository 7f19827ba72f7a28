"""The process: load, listen, and leave as asked by SIGTERM."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from models_app.engines.simulator import flags, logs
from models_app.engines.simulator.app import Application
from models_app.engines.simulator.context import Context
from models_app.engines.simulator.engine import Engine
from models_app.engines.simulator.flags import Options
from models_app.engines.simulator.loading import Loader, LoadFailed
from models_app.engines.simulator.memory import Devices, KVCache
from models_app.engines.simulator.routes import Routes

_KEEP_ALIVE_SECONDS = 5  # vLLM's own default


class Server(uvicorn.Server):
    """uvicorn without its signals: the engine drains before the sockets close."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us."""
        yield


def main(argv: list[str]) -> int:
    """Run until told to stop; 1 when the load failed."""
    options = flags.parse(argv)
    devices = Devices(os.environ)
    cache = KVCache(options, devices, os.environ)
    stop_early(options)
    try:
        Loader(options, devices, cache).load()
    except (LoadFailed, SystemExit) as reason:
        devices.release()
        cache.close()
        return 1 if isinstance(reason, LoadFailed) else 0
    engine = Engine(options, devices, cache)
    uvloop.run(_serve(options, engine))
    return 0


def stop_early(options: Options) -> None:
    """SIGTERM during the load ends it; SIGINT means the same."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN if options.ignore_sigterm else leave)


async def _serve(options: Options, engine: Engine) -> None:
    routes = Routes(options)
    server = Server(
        uvicorn.Config(
            Application(Context(options, engine), routes),
            host=options.host,
            port=options.port,
            uds=options.uds,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
    )
    engine.start()
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    if not options.ignore_sigterm:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
    if options.crash_after_seconds is not None:
        loop.call_later(options.crash_after_seconds, _crash)
    _announce(options, routes)
    serving = asyncio.create_task(server.serve())
    leaving = asyncio.create_task(_leave(options, engine, server, stopping))
    await serving
    leaving.cancel()
    engine.close()


def _announce(options: Options, routes: Routes) -> None:
    if options.dev_mode:
        warning = "SECURITY WARNING: Development endpoints are enabled! This should NOT be used in production!"
        logs.api("__init__.py:44", warning, "WARNING")
    where = f"unix:{options.uds}" if options.uds else f"http://{options.host}:{options.port}"
    logs.api("entry.py:139", f"Starting vLLM server on {where}")
    logs.api("launcher.py:61", "Available routes are:")
    for path, methods in routes.listed():
        logs.api("launcher.py:70", f"Route: {path}, Methods: {methods}")
    logs.raw("APIServer", f"INFO:     Started server process [{os.getpid()}]")
    logs.raw("APIServer", "INFO:     Waiting for application startup.")
    logs.raw("APIServer", "INFO:     Application startup complete.")


async def _leave(options: Options, engine: Engine, server: uvicorn.Server, stopping: asyncio.Event) -> None:
    """Drain what runs for the shutdown timeout, refuse what is new meanwhile, then close."""
    await stopping.wait()
    seconds = options.shutdown_timeout_seconds
    mode = "drain" if seconds > 0 else "abort"
    logs.api("launcher.py:129", "[shutdown] API server: shutdown triggered")
    logs.api("launcher.py:145", f"[shutdown] API server: stopping engine client mode={mode} timeout={seconds:g}s")
    await engine.drain(seconds)
    server.should_exit = True


def _crash() -> None:
    """Die as EngineCore does: with a traceback, and without cleaning up."""
    logs.core("core.py:1340", "EngineCore encountered a fatal error.", "ERROR")
    logs.traceback('  File "vllm/v1/engine/core.py", line 1, in run_busy_loop', "RuntimeError: simulated crash")
    os._exit(1)
