#!/usr/bin/env bash
# transformers 5.24.0: what a configuration that it saves still tells of a model's layers.
#
# Guessed: whatever decides the shape of the cache is in the dictionary that a configuration is saved as: the number of
# layers, each kind's KV heads, and the published order of kinds where a config does not list them.
# Seen: Nemotron-H saves its list of kinds and no number of layers; MiMo V2 Flash saves neither the number of KV heads of
# its windowed layers nor their widths; DeepSeek V4 with no list begins its alternation with the other kind than the
# published DeepSeek V4 Pro, 29 and 32 layers instead of 30 and 31; Kimi Linear without a list puts full attention one
# layer later than the published one.
# Why it matters: whoever counts memory from a saved config.json needs the list first, and a family's habits for the rest.
#
# Needs Python 3.11 or newer and a minute; no GPU, no model.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile "transformers==5.24.0"
cat > "$folder/look.py" <<'PYTHON'
import sys
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
wrong = 0

def see(what, seen, wanted):
    global wrong
    wrong += seen != wanted
    print("as stated" if seen == wanted else "CHANGED  ", what, seen)

nemotron = CONFIG_MAPPING["nemotron_h"]().to_dict()
see("Nemotron-H saves: a list, a number", ["layers_block_type" in nemotron, "num_hidden_layers" in nemotron], [True, False])
mimo = CONFIG_MAPPING["mimo_v2_flash"]().to_dict()
see("MiMo saves KV heads of windowed layers", [name for name in mimo if name.startswith("swa_")], [])
four = CONFIG_MAPPING["deepseek_v4"](num_hidden_layers=61).layer_types
kinds = [four.count("compressed_sparse_attention"), four.count("heavily_compressed_attention")]
see("DeepSeek V4 with 61 layers: for 4, for 128", kinds, [29, 32])
kimi = CONFIG_MAPPING["kimi_linear"]().layer_types or []
see("Kimi Linear without a list: full attention from 0 at", [n for n, kind in enumerate(kimi) if kind == "full_attention"][:3], [4, 8, 12])
sys.exit(wrong > 0)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" 2>"$folder/err" || { tail -n 20 "$folder/err" >&2; exit 1; }
