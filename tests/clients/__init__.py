"""The clients that people use, against a whole installation: `make test-clients`.

They live in an environment of their own, .venv-clients, and know of Sardeenz an address and a key.
"""
