"""Real vLLM without a GPU: its installation, a model small enough for it, and a deployment end to end."""
