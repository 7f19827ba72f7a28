#!/bin/sh
# Run the contract suite and an end-to-end deployment against real vLLM on this machine's CPU: `make test-vllm`.
set -eu
cd "$(dirname "$0")/../.."
sh tests/vllm/install.sh
SARDEENZ_TEST_VLLM=$(cd "${VENV_VLLM:-.venv-vllm}/bin" && pwd)/vllm
export SARDEENZ_TEST_VLLM
exec .venv/bin/python -m pytest -p no:xdist tests/contract tests/vllm "$@"
