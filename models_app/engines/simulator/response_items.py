"""The items of /v1/responses: what comes in, as the turns of a chat, and what goes out."""

from typing import Any

from models_app.engines.simulator.engine import new_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.generation import Choice

_NO_CALLER = {"async": None, "caller": None, "namespace": None}


def turns(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The input as turns of a chat."""
    given = body.get("input")
    if given is None:
        raise ApiError.invalid("missing", "body.input", "Field required", f"<dict of {len(body)} items>")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return [_turn(each) for each in given]


def as_chat(body: dict[str, Any], turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The turns with this request's instructions, tools and demands, in the words of a chat."""
    instructions = body.get("instructions")
    chat: dict[str, Any] = {
        "messages": [{"role": "system", "content": instructions}, *turns] if instructions else turns,
        "tools": body.get("tools"),
        "tool_choice": body.get("tool_choice"),
    }
    wanted = (body.get("text") or {}).get("format")
    if wanted:
        chat["response_format"] = {**wanted, "json_schema": wanted}
    return chat


def begun(choice: Choice) -> dict[str, Any]:
    """The item of an answer that has only begun."""
    if choice.tool is not None:
        return {**_call(choice.tool, ""), "status": "in_progress"}
    return {**_message(), "content": [], "status": "in_progress"}


def item(choice: Choice, answer: str, begun: dict[str, Any] | None = None) -> dict[str, Any]:
    """The item of a whole answer, under the name it began with."""
    if choice.tool is not None:
        return {**(begun or _call(choice.tool, "")), "arguments": answer, "status": "completed"}
    return {**(begun or _message()), "content": [part(answer)], "status": "completed"}


def part(text: str) -> dict[str, Any]:
    """This is the one part of a message's content that holds the given text."""
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": None}


def _turn(given: Any) -> Any:
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "function_call":
        function = {"name": given.get("name"), "arguments": given.get("arguments")}
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}
    if kind == "function_call_output":
        return {"role": "tool", "content": given.get("output")}
    return given


def _message() -> dict[str, Any]:
    return {"id": new_id("msg").replace("-", "_", 1), "role": "assistant", "type": "message", "phase": None}


def _call(tool: str, arguments: str) -> dict[str, Any]:
    return {
        "id": new_id("fc").replace("-", "_", 1),
        "call_id": new_id("chatcmpl-tool"),
        "name": tool,
        "arguments": arguments,
        "type": "function_call",
        **_NO_CALLER,
    }
