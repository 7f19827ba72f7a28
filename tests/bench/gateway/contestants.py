"""Who is measured: the engine itself, nginx and our gateway. The others are in `peers`."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.gateway.client import Caller, Tally, body, stream_body
from tests.bench.gateway.machine import Cores, NotMeasured, Program, Watch
from tests.bench.gateway.ours import ROOT, Installation
from tests.patience import free_port

START_SECONDS = 90.0
CHECK_CHUNKS = 3
DIRECT = "direct to the engine"
NGINX = "nginx"
OURS = "sardeenz"
THERE = "the other checkout"
_NGINX = """
worker_processes {workers};
worker_rlimit_nofile 20000;
daemon off;
pid {place}/nginx.pid;
error_log {place}/nginx-error.log error;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    client_body_temp_path {place}/nginx-body;
    proxy_temp_path {place}/nginx-proxy;
    fastcgi_temp_path {place}/nginx-fastcgi;
    uwsgi_temp_path {place}/nginx-uwsgi;
    scgi_temp_path {place}/nginx-scgi;
    keepalive_requests 1000000000;
    upstream engine {{
        server 127.0.0.1:{engine};
        keepalive 4096;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that answers chat completions on a port of 127.0.0.1."""

    name: str
    version: str
    port: int
    key: str
    programs: tuple[Program, ...]
    cores: Cores

    def watch(self) -> Watch:
        """Of its programs and cores."""
        return Watch(self.programs, self.cores)


@contextmanager
def engine(cores: Cores, place: Path) -> Iterator[Contestant]:
    """The fake engine, which is also what the others are compared with."""
    port = free_port()
    argv: list[str | Path] = [sys.executable, ROOT / "tests" / "bench" / "gateway" / "engine.py", str(port)]
    with Program(argv, cores=cores.load, log=place / "engine.log") as program:
        beside = Cores(cores.load, cores.load)
        direct = Contestant(DIRECT, f"Python {sys.version.split()[0]}", port, "none", (program,), beside)
        wait(direct)
        yield direct


@contextmanager
def nginx(engine_port: int, cores: Cores, place: Path, *, workers: int = 1) -> Iterator[Contestant]:
    """A plain reverse proxy with keep-alive on both sides."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise NotMeasured("nginx is not installed: apt-get install nginx-light")
    port = free_port()
    conf = place / "nginx.conf"
    conf.write_text(_NGINX.format(place=place, engine=engine_port, port=port, workers=workers))
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
    version = said.rpartition("/")[2].strip()
    argv: list[str | Path] = [program, "-e", place / "nginx-error.log", "-c", conf]
    with Program(argv, cores=cores.gateway, log=place / "nginx.log") as running:
        yield wait(Contestant(NGINX, version, port, "none", (running,), cores))


@contextmanager
def gateway(
    made: Installation, cores: Cores, *, processes: int = 1, name: str = OURS, tree: Path = ROOT
) -> Iterator[Contestant]:
    """The gateway of `tree`, with a key that has a team and every limit."""
    port = free_port()
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=tree, capture_output=True, text=True, check=False
    )
    name = name if processes == 1 else f"{name}, {processes} processes"
    with made.gateway(port, cores.gateway, processes=processes, tree=tree) as programs:
        yield wait(Contestant(name, said.stdout.strip(), port, made.keys["limited"], tuple(programs), cores))


def wait(contestant: Contestant) -> Contestant:
    """Return when it answers both kinds of request as the engine does; else NotMeasured with what it said."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        ended = any(program.ended for program in contestant.programs)
        try:
            problem = asyncio.run(_try(contestant))
        except (OSError, TimeoutError) as error:
            problem = repr(error)
        if not problem:
            return contestant
        if ended or time.monotonic() > deadline:
            words = " / ".join(program.last_words for program in contestant.programs)
            raise NotMeasured(f"{contestant.name} does not serve: {problem}; it says: {words}")
        time.sleep(0.2)


async def _try(contestant: Contestant) -> str:
    """What is wrong with its answers, if anything."""
    caller = Caller(contestant.port, contestant.key, Tally())
    async with asyncio.timeout(15):
        whole = await caller.call(body(max_tokens=8))
        if not whole.ok or whole.size < 500:
            return f"{whole.status} {whole.code} {whole.message} with {whole.size} bytes"
        for usage in (False, True):
            stream = await caller.stream(stream_body(CHECK_CHUNKS, usage=usage))
            if not stream.whole(CHECK_CHUNKS):
                return f"a stream of {CHECK_CHUNKS} chunks came as {stream.chunks}: {stream.status} {stream.code}"
    caller.leave()
    return ""
