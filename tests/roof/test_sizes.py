"""Bytes as people read them."""

import pytest

from sardeenz import sizes

GIB = 1024**3


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (512 * 1024**2, "512 MiB"),
        (int(1023.7 * 1024**2), "1 GiB"),
        (16 * GIB, "16 GiB"),
        (int(12.34 * GIB), "12.3 GiB"),
        (160 * GIB, "160 GiB"),
        (int(1.5 * 1024**4), "1.5 TiB"),
        (-2 * GIB, "-2 GiB"),
    ],
)
def test_a_size_has_three_digits_and_its_unit(size_bytes: int, text: str) -> None:
    assert sizes.text(size_bytes) == text
