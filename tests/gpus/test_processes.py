"""Engines are found by their marker, whoever started them, and a zombie is dead."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from uuid import uuid4

import pytest

from gpus import processes
from gpus.errors import SpawnFailed
from gpus.processes import EngineProcess
from tests.patience import until

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {"PATH": os.environ["PATH"]}


@pytest.fixture
def installation() -> Iterator[str]:
    """A name nobody else uses, whose engines are killed at the end."""
    name = uuid4().hex[:12]
    yield name
    for engine in processes.find_all(name).values():
        processes.kill(engine)
    until(lambda: processes.reap() is not None and not processes.find_all(name))


def start(installation: str, log: Path, *argv: str, name: str = "7:2", **environment: str) -> EngineProcess:
    """A running engine that has become `argv`."""
    marker = f"{installation}:{name}"
    processes.spawn(argv or ("sleep", "600"), environment=PLAIN | environment, log_path=log, marker=marker)
    return until(lambda: processes.find_all(installation).get(name))


def test_an_engine_is_found_by_its_marker(installation: str, tmp_path: Path) -> None:
    engine = start(installation, tmp_path / "log", SARDEENZ_ENGINE_URL="http://127.0.0.1:18100")
    assert engine.marker == "7:2"
    assert engine.pids == (engine.pid,)
    assert engine.url == "http://127.0.0.1:18100"
    assert processes.is_alive(engine.pid, engine.started)
    assert not processes.is_alive(engine.pid, engine.started + 0.01)
    assert os.getsid(engine.pid) == engine.pid


def test_a_marker_is_compared_from_end_to_end(installation: str, tmp_path: Path) -> None:
    start(installation, tmp_path / "log", name="7:2")
    start(installation, tmp_path / "log", name="7:21")
    start(installation, tmp_path / "log", name="17:2")
    assert set(processes.find_all(installation)) == {"7:2", "7:21", "17:2"}
    assert processes.find_all(installation[:-1]) == {}
    assert processes.find_all("") == {}


def test_a_marker_inside_another_variable_means_nothing(installation: str, tmp_path: Path) -> None:
    fake = f"SARDEENZ_REPLICA={installation}:9:9"
    environment = {**PLAIN, "NOTE": fake, "X_SARDEENZ_REPLICA": f"{installation}:9:9"}
    with subprocess.Popen(["sleep", "600"], env=environment) as process:
        start(installation, tmp_path / "log")
        assert set(processes.find_all(installation)) == {"7:2"}
        process.kill()


def test_children_belong_to_the_engine_even_without_the_marker(installation: str, tmp_path: Path) -> None:
    script = "sleep 600 & env -i sleep 601 & exec setsid -w sleep 602"
    start(installation, tmp_path / "log", "sh", "-c", script)
    engine = until(lambda: (e := processes.find_all(installation)["7:2"]) and len(e.pids) == 4 and e)
    assert engine.pid in engine.pids
    assert os.getsid(engine.pid) == engine.pid
    processes.kill(engine)
    until(lambda: not processes.find_all(installation))
    assert not any(processes.is_alive(pid, at) for pid, at in zip(engine.pids, engine.starts, strict=True))


def test_a_process_that_becomes_an_engine_after_it_was_seen_is_found(installation: str) -> None:
    program = (
        "import os, sys; print(1, flush=True); sys.stdin.readline()\n"
        f"os.execvpe('sleep', ['sleep', '600'], {{**os.environ, 'SARDEENZ_REPLICA': '{installation}:7:2'}})"
    )
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        assert processes.find_all(installation) == {}
        process.stdin.write("\n")
        process.stdin.flush()
        found = until(lambda: processes.find_all(installation))
        assert found["7:2"].pid == process.pid
        process.kill()


def test_orphans_without_their_leader_are_still_the_engine(installation: str, tmp_path: Path) -> None:
    engine = start(installation, tmp_path / "log", "sh", "-c", "sleep 600 & wait")
    until(lambda: len(processes.find_all(installation)["7:2"].pids) == 2)
    os.kill(engine.pid, signal.SIGKILL)
    left = until(lambda: (e := processes.find_all(installation)["7:2"]) and e.pid != engine.pid and e)
    assert len(left.pids) == 1
    processes.kill(left)
    until(lambda: not processes.find_all(installation))


def test_a_zombie_is_dead_and_reaping_tells_its_exit_code(installation: str, tmp_path: Path) -> None:
    marker = f"{installation}:7:2"
    pid = processes.spawn(["sh", "-c", "exit 3"], environment=PLAIN, log_path=tmp_path / "log", marker=marker)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{pid}").exists()
    assert processes.find_all(installation) == {}
    assert processes.start_time(pid) is None
    assert processes.reap()[pid] == 3
    assert not Path(f"/proc/{pid}").exists()
    assert pid not in processes.reap()


def test_an_engine_survives_the_death_of_its_starter(installation: str, tmp_path: Path) -> None:
    program = (
        "import os; from gpus import processes\n"
        "processes.spawn(['sleep', '600'], environment={'PATH': os.environ['PATH']},"
        f" log_path={str(tmp_path / 'log')!r}, marker='{installation}:7:2')\n"
        "os.kill(0, 9)"
    )
    starter = subprocess.run([sys.executable, "-c", program], cwd=ROOT, start_new_session=True, check=False)
    assert starter.returncode == -signal.SIGKILL
    engine = until(lambda: processes.find_all(installation).get("7:2"))
    processes.terminate(engine)
    until(lambda: not processes.find_all(installation))


def test_an_engine_gets_our_files_neither_by_descriptor_nor_by_environment(
    installation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SARDEENZ_SECRET_KEY", "hush")
    with (tmp_path / "open").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        engine = start(installation, tmp_path / "deep" / "log", "sh", "-c", "echo out; echo err >&2; sleep 600; :")
        folder = Path(f"/proc/{engine.pid}/fd")
        assert tmp_path / "open" not in {link.readlink() for link in folder.iterdir()}
    assert b"hush" not in Path(f"/proc/{engine.pid}/environ").read_bytes()
    until(lambda: (tmp_path / "deep" / "log").read_text() == "out\nerr\n")


def test_what_an_engine_writes_is_appended(installation: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    marker = f"{installation}:7:2"
    processes.spawn(["echo", "after"], environment=PLAIN, log_path=tmp_path / "log", marker=marker)
    until(lambda: (tmp_path / "log").read_text() == "before\nafter\n")


def test_a_program_that_is_not_there_is_a_coded_error(tmp_path: Path) -> None:
    with pytest.raises(SpawnFailed) as caught:
        processes.spawn(["/nowhere/vllm"], environment={}, log_path=tmp_path / "log", marker="x:1:1")
    assert caught.value.fields["executable"] == "/nowhere/vllm"


def test_kill_spares_a_process_that_only_has_the_pid(installation: str, tmp_path: Path) -> None:
    engine = start(installation, tmp_path / "log")
    earlier = EngineProcess("7:1", engine.pid, engine.started - 1, engine.pids, None, (engine.started - 1,))
    processes.kill(earlier)
    processes.terminate(earlier)
    assert processes.is_alive(engine.pid, engine.started)


def test_an_engine_that_ignores_sigterm_is_killed(installation: str, tmp_path: Path) -> None:
    engine = start(installation, tmp_path / "log", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 600; done")
    until(lambda: (tmp_path / "log").read_text() == "ready\n")
    processes.terminate(engine)
    assert processes.is_alive(engine.pid, engine.started)
    processes.kill(engine)
    until(lambda: not processes.is_alive(engine.pid, engine.started))


def test_a_name_with_brackets_and_spaces_does_not_confuse_us(installation: str, tmp_path: Path) -> None:
    program = tmp_path / "a) R (b"
    program.symlink_to("/bin/sleep")
    engine = start(installation, tmp_path / "log", str(program), "600")
    assert processes.is_alive(engine.pid, engine.started)
    assert os.getsid(engine.pid) == engine.pid


def test_the_host_has_memory_and_a_boot() -> None:
    memory = processes.host_memory()
    assert 0 < memory.available_bytes <= memory.total_bytes
    assert processes.boot_id() == processes.boot_id() != ""


def test_a_cgroup_with_less_memory_is_what_we_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("600000\n")
    (tmp_path / "memory.stat").write_text("anon 400000\ninactive_file 150000\nactive_file 50000\n")
    monkeypatch.setattr(processes, "CGROUP", tmp_path)
    assert processes.host_memory() == processes.HostMemory(1_000_000, 600_000)
    (tmp_path / "memory.max").write_text("max\n")
    assert processes.host_memory().total_bytes > 1_000_000


def test_a_thread_of_the_kernel_is_asked_for_its_environment_once(
    installation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a thread has no address of an environment, and reading one fails; what becomes of its pid later is seen."""
    place = tmp_path / "4711"
    place.mkdir()
    environ = place / "environ"

    def is_at(address: int) -> None:
        words = ["S", "2", "0", "0", *["0"] * 15, "55", *["0"] * 27, str(address), "0"]
        (place / "stat").write_text(f"4711 (kworker/0:1) {' '.join(words)}")

    with monkeypatch.context() as patched:
        patched.setattr(processes, "PROC", tmp_path)
        is_at(0)
        assert processes.find_all(installation) == {}
        environ.write_text(f"{processes.MARKER}={processes.marker_of(installation, 7, 1)}")
        assert processes.find_all(installation) == {}
        is_at(140737488347136)
        assert list(processes.find_all(installation)) == ["7:1"]


def test_a_child_whose_threads_still_end_is_dead_and_its_exit_code_comes_after_them(tmp_path: Path) -> None:
    over = tmp_path / "over"
    program = f"""
import ctypes, os, pathlib, threading, time
def last():
    while not pathlib.Path({str(over)!r}).exists():
        time.sleep(0.005)
    os._exit(7)
threading.Thread(target=last).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    argv = (sys.executable, "-c", program)
    pid = processes.spawn(argv, environment=PLAIN, log_path=tmp_path / "log", marker=f"{uuid4().hex}:1:1")
    until(lambda: processes.start_time(pid) is None)
    assert pid not in processes.reap()
    Timer(0.2, over.touch).start()
    assert processes.reap_dying([pid]) == {pid: 7}
