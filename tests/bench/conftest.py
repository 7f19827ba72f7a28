"""The installation that the benchmarks measure."""

from tests.e2e.conftest import stack

__all__ = ["stack"]
