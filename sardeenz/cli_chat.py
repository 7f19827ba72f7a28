"""`sardeenz chat`: talk with a model through the gateway, as any client would."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import httpx2
import typer

from sardeenz import cli_config
from sardeenz.cli_client import errors, fail

Messages = list[dict[str, str]]


def chat(
    model: Annotated[str, typer.Argument(help="a served name")],
    prompt: Annotated[str, typer.Argument(help="one question; without it, a conversation")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
) -> None:
    """Stream an answer. A model that sleeps is woken by it."""
    messages: Messages = []
    while text := prompt or _ask():
        messages.append({"role": "user", "content": text})
        body = {"model": model, "messages": messages, "stream": True, "max_tokens": max_tokens}
        answer = ""
        for piece in _stream({key: value for key, value in body.items() if value is not None}):
            answer += piece
            typer.echo(piece, nl=False)
        typer.echo()
        if prompt:
            return
        messages.append({"role": "assistant", "content": answer})


def _ask() -> str:
    if sys.stdin.isatty():
        errors.print("you: ", end="", style="dim")
    return sys.stdin.readline().strip()


def _stream(body: dict[str, Any]) -> Iterator[str]:
    """The text of an answer, piece by piece. No limit on its length, only on silence."""
    config = cli_config.current()
    if not config.gateway_url or not config.api_key:
        fail("no gateway known: run `sardeenz up`, or set SARDEENZ_GATEWAY_URL and SARDEENZ_API_KEY")
    headers = {"Authorization": f"Bearer {config.api_key}"}
    url = f"{config.gateway_url}/v1/chat/completions"
    try:
        with httpx2.stream("POST", url, json=body, headers=headers, timeout=httpx2.Timeout(30, read=660)) as answer:
            if answer.is_error:
                answer.read()
                fail(_refusal(answer))
            yield from _pieces(answer.iter_lines())
    except httpx2.TransportError as error:
        fail(f"{config.gateway_url} does not answer ({error})")


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if not data or data == "[DONE]":
            continue  # comments keep a waiting connection alive
        event = json.loads(data)
        if "error" in event:
            fail(str(event["error"].get("message", event["error"])))
        for choice in event.get("choices", []):
            yield choice.get("delta", {}).get("content") or ""


def _refusal(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {answer.status_code}"
