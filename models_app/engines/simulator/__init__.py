"""An engine without a GPU: a real child process with vLLM's HTTP surface, log, memory and faults.

`python -m models_app.engines.simulator serve MODEL ...` takes vLLM's flags. Nothing here imports Django. The contract
suite in tests/contract runs against this and against real vLLM, so the double cannot drift.
"""

VLLM_VERSION = "0.30.0"
