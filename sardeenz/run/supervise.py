"""Runs supervisord as a child and speaks with it. Killed, it is started again and takes over from its leftovers."""

import http.client
import os
import signal
import time
import xmlrpc.client
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from sardeenz import env
from sardeenz.run import forks, leftovers, services, supervisord
from sardeenz.run.services import Service

START_SECONDS = 15.0
_AWAY = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)


class SupervisorFailed(RuntimeError):
    """supervisord does not start or does not answer."""


class Supervisor:
    """supervisord of one data directory, in a session of its own so that a terminal's Ctrl-C is ours to handle."""

    def __init__(self, data_dir: Path, directory: Path) -> None:
        self._data_dir = data_dir
        self._directory = directory
        self._run = env.run_dir(data_dir)
        self.log_dir = data_dir / "logs" / "services"
        self._process: forks.Child | None = None

    def start(self) -> None:
        """Start with no service but those added before."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        (self._run / "services").mkdir(mode=0o700, exist_ok=True)
        conf = self._run / "supervisord.conf"
        conf.write_text(services.supervisor_section(self._run, self.log_dir))
        marker = f"{services.tag(self._data_dir)}:{services.SUPERVISOR}"
        with (self.log_dir / "supervisord.out").open("ab") as output:
            self._process = forks.fork(partial(supervisord.main, conf, self._directory, marker), output=output.fileno())
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SupervisorFailed(f"supervisord did not start: see {self.log_dir}")
            time.sleep(0.05)

    def forget_services(self) -> None:
        """Begin with an empty list, before `start`."""
        for conf in (self._run / "services").glob("*.conf"):
            conf.unlink()

    def add(self, wanted: Iterable[Service]) -> None:
        """Write the services' configuration and start them."""
        tag = services.tag(self._data_dir)
        for service in wanted:
            text = services.section(service, data_dir_tag=tag, directory=self._directory, log_dir=self.log_dir)
            (self._run / "services" / f"{service.name}.conf").write_text(text)
        added, changed, removed = self._call("reloadConfig")[0]
        for name in [*changed, *removed]:
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name)

    def states(self) -> dict[str, str]:
        """State by process: RUNNING, STARTING, BACKOFF, FATAL..."""
        return {f"{each['group']}:{each['name']}": each["statename"] for each in self._call("getAllProcessInfo")}

    def has_failed(self, service: str) -> bool:
        """Whether the service keeps falling over."""
        return any(
            name.startswith(f"{service}:") and state in ("BACKOFF", "FATAL") for name, state in self.states().items()
        )

    def revive(self, ports_free: Callable[[], None]) -> bool:
        """Start supervisord again when it has ended; True when that was needed."""
        if self._process is None or self._process.poll() is None:
            return False
        leftovers.retire(self._data_dir)
        ports_free()
        self.start()
        return True

    def stop(self) -> None:
        """Stop every service in order, then supervisord."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def hurry(self) -> None:
        """Kill whatever still stops; the servers' files survive that."""
        if self._process is not None:
            self._process.kill()
        for each in leftovers.find(self._data_dir):
            os.kill(each.pid, signal.SIGINT if each.name == services.POSTGRES else signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except SupervisorFailed:
            return False

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._run}/supervisor.sock")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (TimeoutError, *_AWAY) as error:
            raise SupervisorFailed(f"supervisord does not answer: {error}") from error
        except xmlrpc.client.Fault as error:
            raise SupervisorFailed(f"supervisord refused {method} {arguments}: {error.faultString}") from error
        finally:
            transport.close()
