"""What an engine makes of fixed prompts: kept when it is first ready, and compared after each wake. Pure.

The same weights give the same answers; weights, scales or encoders damaged by a sleep do not. A wrong answer may
begin with the right token, so how likely the token was is compared too; and a model that looks at pictures is shown
one, for a wake was seen to damage nothing but the encoder.
"""

import base64
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PROMPT: Final = "The quick brown fox jumps over"
QUESTION: Final = "What is this?"
TOLERANCE: Final = 0.25
"""Of a log-probability. Logits of 16 bits between 16 and 32 lie 0.125 apart, and sums in another order, as another
kernel or batch makes them, move the token's and the likeliest others' by one such step each. Damage moves them further.
"""
_EDGE: Final = 64


@dataclass(frozen=True, slots=True)
class Canary:
    """One answer, and the tokens that the engine's counters grew by, those of its picture's included.

    `token` and `logprob` are None where the engine does not tell them, `image` where it was shown no picture, or
    takes none.
    """

    answer: str
    prompt_tokens: int
    completion_tokens: int
    token: str | None = None
    logprob: float | None = None
    image: "Canary | None" = None

    def kept(self) -> dict[str, Any]:
        """What a row keeps of it."""
        image = self.image.kept() if self.image is not None else None
        told = {"answer": self.answer, "token": self.token, "logprob": self.logprob, "image": image}
        return {name: value for name, value in told.items() if value is not None}

    def difference(self, before: Mapping[str, Any]) -> str:
        """The first part that is not as it was kept, in words; nothing where all is. What was not kept is not compared,
        as in rows of older versions.
        """
        if self.answer != before["answer"]:
            return f"its answer was {before['answer']!r} and is {self.answer!r}"
        if "token" in before and self.token != before["token"]:
            return f"its token was {before['token']!r} and is {self.token!r}"
        if "logprob" in before and not _near(before["logprob"], self.logprob):
            was = before["logprob"]
            if self.logprob is None:
                return f"the log-probability of its token was {was:.2f} and is not told"
            return f"the log-probability of its token was {was:.2f} and is {self.logprob:.2f}"
        if "image" not in before:
            return ""
        if self.image is None:
            return "shown a picture, it gives no answer any more"
        words = self.image.difference(before["image"])
        return words and f"shown a picture, {words}"


def _near(before: float, now: float | None) -> bool:
    return now is not None and math.isfinite(now) and abs(before - now) <= TOLERANCE


def picture() -> str:
    """A small PNG with edges and colours in it, as a data URL: what a chat may hold instead of a link."""
    rows = b"".join(b"\0" + b"".join(_pixel(x, y) for x in range(_EDGE)) for y in range(_EDGE))
    head = struct.pack(">IIBBBBB", _EDGE, _EDGE, 8, 2, 0, 0, 0)
    parts = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def _pixel(x: int, y: int) -> bytes:
    """A red square on a blue that fades to the right."""
    inside = _EDGE // 4 <= x < _EDGE * 3 // 4 and _EDGE // 4 <= y < _EDGE * 3 // 4
    return bytes((220, 40, 40) if inside else (4 * y % 256, 80, 255 - 3 * x))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PICTURE: Final = picture()
