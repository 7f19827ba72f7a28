"""`sardeenz chat`: talk with a model through the gateway, as any client would."""

import json
import sys
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Annotated, Any

import typer

from sardeenz.cli import http
from sardeenz.cli.completion import served_names
from sardeenz.cli.config import current
from sardeenz.cli.output import examples, fail, say

SILENCE_SECONDS = 660.0
"""Longer than the gateway holds a request: it says itself why it gives up."""

Messages = list[dict[str, str]]
app = typer.Typer()


@app.command(epilog=examples('sardeenz chat chat "Why is the sky blue?"', "sardeenz chat chat --max-tokens 200"))
def chat(
    model: Annotated[str, typer.Argument(help="a served name", autocompletion=served_names)],
    prompt: Annotated[str, typer.Argument(help="one question; without it, a conversation")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="end the answer after so many tokens")] = None,
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
        say("you: ", "dim", error=True, end="")
    return sys.stdin.readline().strip()


def _stream(body: dict[str, Any]) -> Iterator[str]:
    """The text of an answer, piece by piece. No limit on its length, only on silence."""
    config = current()
    if not config.gateway_url or not config.api_key:
        fail("no gateway known: run `sardeenz up`, or set SARDEENZ_GATEWAY_URL and SARDEENZ_API_KEY")
    url = f"{config.gateway_url}/v1/chat/completions"
    try:
        with http.opened("POST", url, token=config.api_key, body=body, timeout=SILENCE_SECONDS) as answer:
            yield from _pieces(answer)
    except http.Refusal as refusal:
        fail(_words(refusal))
    except (http.Unanswered, OSError) as error:
        fail(f"{config.gateway_url} does not answer ({error})")


def _pieces(answer: HTTPResponse) -> Iterator[str]:
    for line in answer:
        data = line.decode().removeprefix("data:").strip() if line.startswith(b"data:") else ""
        if not data or data == "[DONE]":
            continue  # comments keep a waiting connection alive
        event = json.loads(data)
        _tell_simulated(event)
        if "error" in event:
            fail(str(event["error"].get("message", event["error"])))
        for choice in event.get("choices", []):
            yield choice.get("delta", {}).get("content") or ""


def _tell_simulated(event: dict[str, Any]) -> None:
    """The simulator's answers carry it in their fingerprint; in a conversation it stands on standard error."""
    if str(event.get("system_fingerprint") or "").endswith("simulated"):
        say("(simulated: no model wrote this)", "dim", error=True)


def _words(refusal: http.Refusal) -> str:
    try:
        return str(refusal.body["error"]["message"])
    except (KeyError, TypeError):
        return f"the gateway answered {refusal.status}"
