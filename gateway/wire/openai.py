"""What the gateway must know of a body: which model, whether it streams. The bytes themselves pass untouched, except
that fields may be added at the end: the last of two equal names counts, to the engines' parser as to ours."""

import asyncio
from functools import partial
from typing import Any

import msgspec
from python_multipart.multipart import parse_options_header

from gateway.errors import InvalidBody

BOM = b"\xef\xbb\xbf"
"""A byte order mark, which some clients put before their JSON; engines are sent the JSON alone."""
LARGE_BYTES = 1 << 20  # msgspec reads about 1.5 GB/s: a body this large takes most of a millisecond


class Fields(msgspec.Struct, frozen=True):
    """The few fields that decide where a request goes."""

    model: str
    stream: bool = False
    priority: int | None = None
    previous_response_id: str | None = None
    session: str | None = None
    stream_options: dict[str, Any] | None = None
    choices: int = 1
    beams: bool = False
    """Whether answers are searched for: the engine then counts many times what usage says."""


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    priority: int | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    stream_options: dict[str, Any] | None = None
    n: int | float | None = None
    use_beam_search: Any = None


_NOT_SAID = (None, False, 0, "false", "0")
_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.encode


def read_json(body: bytes) -> Fields:
    """Read the fields of a JSON body, or raise InvalidBody."""
    try:
        given = _decode(body)
    except msgspec.ValidationError as error:
        raise InvalidBody(f"the body is not a request: {error}", param=_field(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBody(f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise InvalidBody("the body is nested too deeply") from error
    if not given.model:
        raise InvalidBody("the field `model` is missing", param="model")
    return Fields(
        given.model,
        given.stream is True,
        given.priority,
        given.previous_response_id,
        given.prompt_cache_key,
        given.stream_options,
        int(given.n or 1),
        given.use_beam_search not in _NOT_SAID,
    )


def amended(body: bytes, changes: dict[str, Any]) -> tuple[memoryview, bytes]:
    """A JSON object with fields set, as two pieces: nothing before its closing brace is copied."""
    return memoryview(body)[: body.rindex(b"}")], b"," + _encode(changes)[1:]


def renamed_form(body: bytes, content_type: bytes, name: str) -> bytes:
    """A multipart form whose field `model` says `name`."""
    start, end = _spans(body, content_type)[b"model"]
    return b"".join((body[:start], name.encode(), body[end:]))


def read_multipart(body: bytes, content_type: bytes) -> Fields:
    """Read `model` and `stream` of a form without taking the form apart: parts are found, not copied."""
    values = {name: body[start:end] for name, (start, end) in _spans(body, content_type).items()}
    if not values.get(b"model"):
        raise InvalidBody("the form field `model` is missing", param="model")
    model = values[b"model"].decode("utf-8", "replace")
    return Fields(model, values.get(b"stream", b"").lower() in (b"true", b"1"))


async def read(body: bytes, content_type: bytes, *, multipart: bool) -> Fields:
    """Read the fields of either kind; of a large body in a thread, so that other requests keep their turn."""
    reading = partial(read_multipart, body, content_type) if multipart else partial(read_json, body)
    return await asyncio.to_thread(reading) if len(body) > LARGE_BYTES else reading()


def _spans(body: bytes, content_type: bytes) -> dict[bytes, tuple[int, int]]:
    """Where the values of the parts named model and stream are; what a file part holds is skipped by search."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidBody("the body must be multipart/form-data with a boundary")
    delimiter = b"--" + boundary
    spans: dict[bytes, tuple[int, int]] = {}
    start = body.find(delimiter)
    while start >= 0 and len(spans) < 2:
        head = start + len(delimiter)
        end = body.find(b"\r\n" + delimiter, head)
        split = body.find(b"\r\n\r\n", head, head + 8192)
        if end < 0 or split < 0:
            break
        name = _part_name(body[head:split])
        if name in (b"model", b"stream"):
            spans[name] = (min(split + 4, end), min(end, split + 4 + 512))
        start = end + 2
    return spans


def _part_name(head: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"content-disposition":
            return parse_options_header(value.strip())[1].get(b"name", b"")
    return b""


def _field(error: msgspec.ValidationError) -> str | None:
    """`Expected `str`, got `int` - at `$.model`` names the field after the dollar."""
    _, dot, place = str(error).partition("`$.")
    return place.rstrip("`") if dot else None
