"""The embedded servers: real, private, and never run as root."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from sardeenz import env
from sardeenz.run import embedded, unprivileged
from tests.servers import Server


@pytest.fixture
def valkey() -> Iterator[Server]:
    server = Server("valkey")
    yield server
    server.stop()


def test_postgresql_listens_on_its_socket_alone() -> None:
    with psycopg.connect(os.environ["SARDEENZ_DATABASE_URL"].replace("/sardeenz?", "/postgres?")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_valkey_listens_on_its_socket_alone(valkey: Server) -> None:
    with redis.Redis(unix_socket_path=f"{env.run_dir(valkey.place)}/valkey.sock") as client:
        assert client.config_get("port") == {"port": "0"}


def test_nobody_else_may_enter_the_folder_of_the_sockets(valkey: Server) -> None:
    assert env.run_dir(valkey.place).stat().st_mode & 0o007 == 0


def test_a_server_stops_and_leaves_nothing_when_its_tests_end() -> None:
    server = Server("valkey")
    server.stop()
    assert not server.place.exists()


def test_a_data_directory_with_a_long_name_gets_a_short_socket_path() -> None:
    run = env.run_dir(Path("/" + "long/" * 40))
    assert len(os.fsencode(run)) < 60
    assert run != env.run_dir(Path("/" + "other/" * 40))


def test_a_programs_own_user_is_never_root() -> None:
    argv = unprivileged.command(["/usr/bin/id", "-u"])
    seen = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    assert seen != "0"


def test_a_folder_nobody_may_enter_is_named_before_anything_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unprivileged, "way", lambda: "setuid")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    tmp_path.chmod(0o755)
    (closed / "data").mkdir()
    with pytest.raises(embedded.EmbeddedServerError, match="may not enter"):
        embedded.prepare_postgres(closed / "data")


def test_the_pid_file_of_a_killed_server_is_not_believed(tmp_path: Path) -> None:
    place = embedded.postgres_dir(tmp_path)
    place.mkdir()
    (place / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert embedded.postmaster_pid(tmp_path) is None
