"""Bytes as people read them."""

import pytest

from sardeenz import sizes

GIB, MIB = sizes.GIB, sizes.MIB


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "-"), (0, "0 GiB"), (40 * MIB, "40 MiB"), (512 * MIB, "0.5 GiB"), (16 * GIB, "16 GiB")],
)
def test_a_size_is_written_in_gib(size_bytes: int | None, text: str) -> None:
    assert sizes.shown(size_bytes) == text


def test_what_does_not_fit_never_reads_like_what_is_free() -> None:
    assert (sizes.needed(16 * GIB + 1), sizes.free(16 * GIB - 1)) == ("16.1 GiB", "15.9 GiB")
    assert sizes.free(-3 * GIB) == "0 GiB"
