"""An engine that dies in ways the simulator does not: a server with a child that lives on. Started as vLLM is.

SICK names a file: while it exists /health says 503. On SIGUSR1 it stops listening and lives on; it writes LOUD lines.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ANSWER = {"choices": [{"text": " the"}], "usage": {"prompt_tokens": 6, "completion_tokens": 1}, "is_sleeping": False}
GAUGES = b'vllm:num_requests_running{engine="0"} 0\nvllm:num_requests_waiting{engine="0"} 0\n'


class Engine(BaseHTTPRequestHandler):
    """Answers what is asked of every engine."""

    def do_GET(self) -> None:
        sick = self.path == "/health" and Path(os.environ.get("SICK", "/nonexistent")).exists()
        self._answer(503 if sick else 200, GAUGES if self.path == "/metrics" else json.dumps(ANSWER).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._answer(200, json.dumps(ANSWER).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing: the log is for LOUD lines."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve on the port of vLLM's command line."""
    subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Engine)
    signal.signal(signal.SIGUSR1, lambda *_: (server.socket.close(), time.sleep(600)))
    for number in range(int(os.environ.get("LOUD", "0"))):
        sys.stdout.write(f"line {number} {'x' * 100}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
