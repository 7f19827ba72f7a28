"""Tables as CSV, streamed however long they are, and safe to open in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from rest_framework import viewsets
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

BATCH = 1000  # rows to a piece: some 100 KB
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class CsvRenderer(BaseRenderer):
    """Negotiates `?format=csv` and `Accept: text/csv`; the text is written by `TableViewSet.download`."""

    media_type = "text/csv"
    format = "csv"


class TableViewSet(viewsets.GenericViewSet[Any]):
    """A list that can also be had whole, as CSV. Whatever is no such table, errors above all, stays JSON."""

    renderer_classes = (JSONRenderer, CsvRenderer)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(response, Response):
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return super().finalize_response(request, response, *args, **kwargs)

    def wants_csv(self) -> bool:
        """Whether the caller asked for the download."""
        return isinstance(self.request.accepted_renderer, CsvRenderer)

    def download(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
        """The table as a file. Rows are read while it is sent, a batch at a time."""
        pieces = _pieces(header, iter(rows))
        asgi = isinstance(self.request._request, ASGIRequest)  # each server warns of the other's kind of iterator
        return StreamingHttpResponse(
            _in_thread(pieces) if asgi else pieces,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
        )


def _pieces(header: Sequence[str], rows: Iterator[Sequence[Any]]) -> Generator[bytes, None, None]:
    yield _text([header])
    while batch := list(islice(rows, BATCH)):
        yield _text(batch)


def _text(rows: Iterable[Sequence[Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    """What a spreadsheet would run as a formula becomes text by an apostrophe; nothing known is an empty cell."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else value


async def _in_thread(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    """The same pieces, each made where the database may be waited for; a client that leaves ends the query."""
    try:
        while (piece := await sync_to_async(partial(next, pieces, None))()) is not None:
            yield piece
    finally:
        await sync_to_async(pieces.close)()
