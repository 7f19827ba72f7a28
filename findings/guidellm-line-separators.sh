#!/usr/bin/env bash
# guidellm 0.8.1 (httpx 0.28.1): a streamed answer with a line separator (U+2028) or a next-line character (U+0085) in it.
#
# Guessed: a line of server-sent events ends with CR, LF or both and nothing else, as the standard says, and JSON allows
# these characters as they are inside a string; so an answer that contains one is an answer like any other.
# Seen: guidellm reads with httpx's `aiter_lines`, which cuts wherever `str.splitlines` would, so also at U+2028, U+2029 and
# U+0085. Half an event is no JSON (JSONDecodeError: Unterminated string), the call counts as failed, and the exit status is
# 0. The same answer with the character escaped is good. vLLM writes such characters as they are.
# Why it matters: how many calls fail depends on what a model says, with nothing wrong in the engine or its load.
#
# Needs Python 3.11 or newer, 6 GB of disk (guidellm wants PyTorch) and a few minutes; no GPU, no engine, no model.
# PIP_ARGS may name a smaller PyTorch: PIP_ARGS='torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu'.
set -euo pipefail
version=0.8.1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# shellcheck disable=SC2086
"$folder/venv/bin/pip" install --quiet --no-compile --only-binary :all: "guidellm==$version" ${PIP_ARGS:-}
"$folder/venv/bin/guidellm" --version

cat > "$folder/see.py" <<'PYTHON'
import http.server, json, os, subprocess, sys, threading
from pathlib import Path

folder, guidellm = Path(sys.argv[1]), sys.argv[2]
CALLS = 4
PIECE = {"piece": ""}

class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, kind, data):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer("application/json", json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode())

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        events = [event({"role": "assistant", "content": ""}, 0), PIECE["piece"], event({"content": " end"}, 2)]
        self.answer("text/event-stream; charset=utf-8", "".join([*events, "data: [DONE]\n\n"]).encode())

    def log_message(self, *_): pass

def event(delta, tokens, escaped=False):
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if tokens == 2 else None}
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": 1 + tokens}
    whole = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return f"data: {json.dumps(whole, ensure_ascii=escaped)}\n\n"

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
prompts = folder / "prompts.jsonl"
prompts.write_text("".join(json.dumps({"prompt": f"hello {n}"}) + "\n" for n in range(CALLS)))
wrong = 0

def see(what, text, wanted, escaped=False):
    global wrong
    PIECE["piece"] = event({"content": text}, 1, escaped)
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    backend = f"kind=openai_http,target=http://127.0.0.1:{server.server_address[1]},model=m,request_format=/v1/chat/completions"
    words = [guidellm, "run", "--backend", backend, "--profile", "kind=synchronous", "--disable-console"]
    words += ["--constraint", f"kind=max_requests,count={CALLS}", "--data", f"kind=json_file,path={prompts}"]
    words += ["--output", f"kind=json,path={out}"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    seen = None
    if out.exists():
        [one] = json.loads(out.read_text())["benchmarks"]
        totals = one["metrics"]["request_totals"]
        seen = [totals["successful"], totals["errored"], done.returncode]
    wrong += seen != wanted
    print("as stated" if seen == wanted else "CHANGED  ", f"{what}: good, failed, exit status", seen, flush=True)
    if seen is None:
        print(done.stdout[-1500:], done.stderr[-1500:])

see("plain", "a b", [CALLS, 0, 0])
see("U+2028 as it is", "a\u2028b", [0, CALLS, 0])
see("U+2028 escaped", "a\u2028b", [CALLS, 0, 0], escaped=True)
see("U+0085 as it is", "a\u0085b", [0, CALLS, 0])
sys.exit(wrong > 0)
PYTHON
"$folder/venv/bin/python" "$folder/see.py" "$folder" "$folder/venv/bin/guidellm"
