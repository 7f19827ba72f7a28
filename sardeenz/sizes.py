"""The only place on the server where bytes become text for people; the page's is `frontend/src/lib/format.ts`."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def text(size_bytes: float) -> str:
    """17179869184 -> "16 GiB"; three significant digits, base 1024."""
    scaled, unit = float(size_bytes), 0
    while abs(scaled) >= 1023.5 and unit < len(_UNITS) - 1:
        scaled /= 1024
        unit += 1
    digits = 0 if unit == 0 or abs(scaled) >= 99.95 else 1
    return f"{scaled:.{digits}f}".removesuffix(".0") + f" {_UNITS[unit]}"
