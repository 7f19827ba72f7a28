"""How fast the gateway is beside others on one core: `python -m tests.bench.gateway`, docs/gateway-benchmark.md."""
