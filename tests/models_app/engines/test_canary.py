"""What is compared after a wake, and how a difference is told."""

import base64
import struct
import zlib
from dataclasses import replace
from typing import Any

import pytest

from models_app.engines.canary import PICTURE, TOLERANCE, Canary

SEEN = Canary("Red", 70, 1, "token_id:9", -1.5)
SAID = Canary(" the", 76, 2, "token_id:7", -0.5, SEEN)


def changed(**parts: Any) -> Canary:
    return replace(SAID, **parts)


def test_the_same_answers_are_the_same() -> None:
    assert SAID.difference(SAID.kept()) == ""
    assert SAID.kept() == {
        "answer": " the",
        "token": "token_id:7",
        "logprob": -0.5,
        "image": {"answer": "Red", "token": "token_id:9", "logprob": -1.5},
    }


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (changed(answer=" a"), "its answer was ' the' and is ' a'"),
        (changed(token="token_id:8"), "its token was 'token_id:7' and is 'token_id:8'"),
        (changed(token=None), "its token was 'token_id:7' and is None"),
        (changed(logprob=-0.51 - TOLERANCE), "the log-probability of its token was -0.50 and is -0.76"),
        (changed(logprob=None), "the log-probability of its token was -0.50 and is not told"),
        (changed(logprob=float("nan")), "the log-probability of its token was -0.50 and is nan"),
        (changed(image=None), "shown a picture, it gives no answer any more"),
        (changed(image=replace(SEEN, answer="!")), "shown a picture, its answer was 'Red' and is '!'"),
        (
            changed(image=replace(SEEN, logprob=-4.0)),
            "shown a picture, the log-probability of its token was -1.50 and is -4.00",
        ),
    ],
)
def test_a_difference_names_its_part(after: Canary, words: str) -> None:
    assert after.difference(SAID.kept()) == words


def test_a_logprob_may_differ_by_two_steps_of_a_logit() -> None:
    assert not changed(logprob=-0.5 + TOLERANCE).difference(SAID.kept())


def test_what_an_older_version_kept_is_compared_alone() -> None:
    assert SAID.difference({"answer": " the"}) == ""
    assert SAID.difference({"answer": " a"}) == "its answer was ' a' and is ' the'"


def test_the_picture_is_a_whole_png() -> None:
    data = base64.b64decode(PICTURE.removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, parts = 8, {}
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + content)
        parts[kind], place = content, place + 12 + length
    width, height = struct.unpack(">II", parts[b"IHDR"][:8])
    pixels = zlib.decompress(parts[b"IDAT"])
    assert (width, height, len(pixels)) == (64, 64, 64 * (1 + 3 * 64))
    assert len(set(pixels)) > 50  # with nothing to see in it, an encoder that sees nothing would not be found out
