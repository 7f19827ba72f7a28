"""Blank out, in a CUDA library, the code of GPUs that it will never run on: it then compresses to a fraction.

    python3 keep_arch.py LIBRARY 90

Only the images in `.nv_fatbin` are touched, and every offset stays. A container without an image for the wanted GPU
keeps what it has for 8.0 and its PTX.
"""

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAGIC = 0xBA55ED50
PTX, ELF = 1, 2
FALLBACK = 80


def keep(library: Path, wanted: int) -> None:
    """Rewrite the library in place."""
    data = bytearray(library.read_bytes())
    for images in _containers(data, *_section(library)):
        exact = any(kind == ELF and arch == wanted for kind, arch, _, _ in images)
        for kind, arch, start, size in images:
            needed = kind == ELF and arch == wanted if exact else kind == PTX or arch == FALLBACK
            if not needed:
                data[start : start + size] = bytes(size)
    library.write_bytes(data)


def _section(library: Path) -> tuple[int, int]:
    said = subprocess.run(["readelf", "-SW", library], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\.nv_fatbin\s+PROGBITS\s+\w+\s+(\w+)\s+(\w+)", said)
    if not found:
        raise SystemExit(f"{library} has no .nv_fatbin")
    return int(found[1], 16), int(found[2], 16)


def _containers(data: bytearray, offset: int, size: int) -> Iterator[list[tuple[int, int, int, int]]]:
    """Each container's images: kind, architecture, where its payload starts, and its bytes."""
    at, end = offset, offset + size
    while at < end:
        magic, _, header, length = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:
            at += 8
            continue
        image, at = at + header, at + header + length
        images = []
        while image < at:
            kind, _, head, payload = struct.unpack_from("<HHIQ", data, image)
            (arch,) = struct.unpack_from("<I", data, image + 28)
            images.append((kind, arch, image + head, payload))
            image += head + payload
        yield images


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]))
