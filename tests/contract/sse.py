"""Server-sent events as a client reads them."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2


def events(response: httpx2.Response) -> Iterator[Any]:
    """The JSON of each event; the end mark as the text "[DONE]"."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


def chat(content: str, **more: Any) -> dict[str, Any]:
    """The body of a chat."""
    return {"model": "sprat", "messages": [{"role": "user", "content": content}], "temperature": 0, **more}
