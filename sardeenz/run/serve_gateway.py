"""One gateway process: `python -m sardeenz.run.serve_gateway`.

Under supervisord standard input is the listening socket all gateways share, so the death of one refuses nobody.
Elsewhere the process listens by itself on SARDEENZ_HOST and SARDEENZ_GATEWAY_PORT.
"""

import gc
import os
import socket
import stat
import sys

import django
import uvicorn
from django.conf import settings

from gateway.wire.downstream import Client

APPLICATION = "gateway.app:make"


def inherited_socket() -> socket.socket | None:
    """The socket on standard input, which is then given up: a closed listener must not live on there."""
    if not stat.S_ISSOCK(os.fstat(0).st_mode):
        return None
    listener = socket.socket(fileno=os.dup(0))
    listener.set_inheritable(False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return listener


def config() -> uvicorn.Config:
    """No access log and no limit on streams; SIGTERM ends the listener and lets open streams finish."""
    return uvicorn.Config(
        APPLICATION,
        factory=True,
        host=settings.HOST,
        port=settings.GATEWAY_PORT,
        loop="uvloop",
        http=Client,
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=75,
        log_config=settings.LOGGING,
    )


def tune() -> None:
    """What is loaded by now lives as long as the process, and a thread that writes rows gives way soon."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    sys.setswitchinterval(0.0005)


def main() -> None:
    """Serve until told to stop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sardeenz.settings")
    django.setup()
    listener = inherited_socket()
    wanted = config()
    wanted.load()
    tune()
    uvicorn.Server(wanted).run(sockets=[listener] if listener else None)


if __name__ == "__main__":
    main()
