"""What the gateway must know of a body: which model, whether it streams. The bytes themselves pass untouched."""

import asyncio
from typing import Any, NamedTuple

import msgspec
from python_multipart.multipart import parse_options_header

from gateway.errors import InvalidBody

LARGE_BYTES = 1 << 20  # msgspec reads about 1.5 GB/s: a body this large takes most of a millisecond


class Fields(NamedTuple):
    """The few fields that decide where a request goes."""

    model: str
    stream: bool = False
    priority: int | None = None
    previous_response_id: str | None = None


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    priority: int | None = None
    previous_response_id: str | None = None


_decode = msgspec.json.Decoder(_Body).decode


def read_json(body: bytes) -> Fields:
    """Read the fields of a JSON body, or raise InvalidBody."""
    try:
        found = _decode(body)
    except msgspec.ValidationError as error:
        raise InvalidBody(f"the body is not a request: {error}", param=_field(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidBody(f"the body is not valid JSON: {error}") from error
    if not found.model:
        raise InvalidBody("the field `model` is missing", param="model")
    return Fields(found.model, found.stream is True, found.priority, found.previous_response_id)


def read_multipart(body: bytes, content_type: bytes) -> Fields:
    """Read `model` and `stream` of a form without taking the form apart: parts are found, not copied."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidBody("the body must be multipart/form-data with a boundary")
    values = _small_parts(body, b"--" + boundary)
    if not values.get(b"model"):
        raise InvalidBody("the form field `model` is missing", param="model")
    model = values[b"model"].decode("utf-8", "replace")
    return Fields(model, values.get(b"stream", b"").lower() in (b"true", b"1"))


async def read(body: bytes, content_type: bytes, *, multipart: bool) -> Fields:
    """Read the fields of either kind; a large body in a thread, so that other requests keep their turn."""
    reader: Any = read_multipart if multipart else read_json
    arguments = (body, content_type) if multipart else (body,)
    if len(body) > LARGE_BYTES:
        found: Fields = await asyncio.to_thread(reader, *arguments)
        return found
    return reader(*arguments)  # type: ignore[no-any-return]


def _small_parts(body: bytes, delimiter: bytes) -> dict[bytes, bytes]:
    """The values of the parts named model and stream; what a file part holds is skipped by search."""
    values: dict[bytes, bytes] = {}
    start = body.find(delimiter)
    while start >= 0 and len(values) < 2:
        head = start + len(delimiter)
        end = body.find(b"\r\n" + delimiter, head)
        split = body.find(b"\r\n\r\n", head, head + 8192)
        if end < 0 or split < 0:
            break
        name = _part_name(body[head:split])
        if name in (b"model", b"stream"):
            values[name] = body[min(split + 4, end) : min(end, split + 4 + 512)]
        start = end + 2
    return values


def _part_name(head: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"content-disposition":
            return parse_options_header(value.strip())[1].get(b"name", b"")
    return b""


def _field(error: msgspec.ValidationError) -> str | None:
    """`Expected `str`, got `int` - at `$.model`` names the field after the dollar."""
    _, found, place = str(error).partition("`$.")
    return place.rstrip("`") if found else None
