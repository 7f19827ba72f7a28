"""What every client asks, so that all ask the same."""

import base64
import os
import struct
import zlib
from functools import cache
from typing import Any, Literal

import pytest
from pydantic import BaseModel

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"side": {"type": "string", "enum": ["port", "starboard"]}, "near": {"type": "boolean"}},
    "required": ["side", "near"],
    "additionalProperties": False,
}
QUESTION = "Where is the shoal?"
# Weights that are made up, always taking the likeliest token, would call a tool again and again.
CALLING: dict[str, Any] = {"temperature": 1, "seed": 1}
CALL_TOKENS = 1000
NO_MODEL = "herring"
PICTURE_BYTES = 8 << 20


class Shoal(BaseModel):
    """SCHEMA, as the SDKs read it into objects."""

    side: Literal["port", "starboard"]
    near: bool


def turns(text: str = QUESTION) -> Any:
    """A conversation of one turn."""
    return [{"role": "user", "content": text}]


def not_supported(kind: str, status: int, words: object) -> None:
    """Skip with the engine's own words; only real vLLM may do without a feature, the simulator has them all."""
    if kind == "vllm" and status in (400, 404, 501):
        pytest.skip(f"vLLM: {words}")
    pytest.fail(f"{kind} does not do it: {status} {words}")


@cache
def picture() -> str:
    """A PNG of noise, a little more than PICTURE_BYTES long, as a data URL."""
    side = 1674
    rows = b"".join(b"\0" + os.urandom(3 * side) for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)
    assert len(png) > PICTURE_BYTES
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def sound() -> bytes:
    """A WAV file with a second of silence."""
    rate, data = 16_000, bytes(32_000)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + form + b"data" + struct.pack("<I", len(data)) + data
