"""One contract for engines: every test runs against the simulator and, where there is one, real vLLM on the CPU.

Set SARDEENZ_TEST_VLLM to the path of a `vllm` executable, or run `make test-vllm`.
"""
