"""The line to try that `sardeenz up` prints, at its first start and at every later one, in a real shell."""

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from sardeenz.cli.config import Config, header_path, save
from sardeenz.run import banner

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


class Asked(http.server.BaseHTTPRequestHandler):
    """A gateway that keeps what it was asked."""

    seen: ClassVar[list[tuple[str, str | None, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, self.headers["authorization"], json.loads(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def gateway_url() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Asked)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    Asked.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.parametrize("new", [True, False])
def test_the_printed_line_works_as_it_stands(
    gateway_url: str, new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "it's a folder"
    data_dir.mkdir()
    config = Config(url="http://web", gateway_url=gateway_url, token="t", api_key="sk-srdz-secret")
    save(data_dir, config)
    monkeypatch.setenv("SARDEENZ_DATA_DIR", str(data_dir))
    made = {"username": "admin", "password": None, "runtimes": ["simulator"], "simulated": False}
    console = Console(width=100, record=True, quiet=False, file=(tmp_path / "shown").open("w"))
    banner.show(console, {**made, "api_key": config.api_key, "new_api_key": new}, log_dir=tmp_path, data_dir=data_dir)
    console.file.close()
    shown = (tmp_path / "shown").read_text()
    assert (config.api_key in shown) == new
    line = next(line for line in shown.splitlines() if line.startswith("curl"))
    subprocess.run(["sh", "-c", line], check=True, capture_output=True)
    [(path, authorization, body)] = Asked.seen
    assert (path, authorization) == ("/v1/chat/completions", "Bearer sk-srdz-secret")
    assert body["model"] == "chat"


def test_the_header_is_its_owners_alone(tmp_path: Path) -> None:
    save(tmp_path, Config(api_key="sk-srdz-secret"))
    assert header_path(tmp_path).stat().st_mode & 0o777 == 0o600
