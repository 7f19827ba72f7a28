"""What callers send, flattened to one text, and what they demand of the answer."""

import json
from typing import Any

from models_app.engines.simulator import text
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.flags import Options


def from_messages(body: dict[str, Any]) -> str:
    """The chat template: roles and contents in order, tools first."""
    messages = body.get("messages")
    if messages is None:
        raise ApiError.invalid("missing", "body.messages", "Field required", f"<dict of {len(body)} items>")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ApiError.invalid("list_type", "body.messages", "Input should be a valid list", repr(messages)[:200])
    if not messages:
        raise ApiError("Cannot apply chat template to an empty conversation. Provide at least one message.")
    tools = body.get("tools")
    head = f"<|tool|>{json.dumps(tools, sort_keys=True)}" if tools else ""
    system = body.get("system")
    head += f"<|system|>{flat(system)}" if system else ""
    turns = [f"<|{message.get('role', 'user')}|>{_turn(message)}" for message in messages]
    return head + "".join(turns) + "<|assistant|>"


def flat(content: Any) -> str:
    """A content as text; what is not text becomes a mark that differs with it."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, dict):
        content = [content]
    return "".join(part if isinstance(part, str) else _part(part) for part in content)


def from_completion(body: dict[str, Any]) -> list[str]:
    """The prompts of /v1/completions: a text, texts, tokens, or lists of tokens."""
    prompt = body.get("prompt")
    if prompt is None or prompt in ([], ""):
        message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"
        raise ApiError(message, param="prompt")
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and isinstance(prompt[0], int):
        return [text.detokenize(prompt)]
    if not isinstance(prompt, list):
        raise ApiError.invalid("string_type", "body.prompt", "Input should be a valid string", repr(prompt)[:200])
    return [each if isinstance(each, str) else text.detokenize(each) for each in prompt]


def structured(body: dict[str, Any], prompt: str) -> str | None:
    """The answer a response format or a structured-outputs field demands, or None."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        return text.as_json({"type": "object", "properties": {"answer": {"type": "string"}}}, prompt)
    if wanted.get("type") == "json_schema":
        return text.as_json((wanted.get("json_schema") or {}).get("schema") or {}, prompt)
    outputs = body.get("structured_outputs") or {}
    if outputs.get("choice"):
        return str(outputs["choice"][text.digest(prompt) % len(outputs["choice"])])
    if outputs.get("json"):
        schema = outputs["json"]
        return text.as_json(json.loads(schema) if isinstance(schema, str) else schema, prompt)
    return None


def tool_call(body: dict[str, Any], prompt: str, options: Options) -> tuple[str, str] | None:
    """The name and arguments of the call to answer with, or None for words. Refuses what vLLM refuses."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not tools or choice == "none":
        return None
    named = (choice.get("function") or choice).get("name") if isinstance(choice, dict) else None
    if named is None and choice in (None, "auto"):
        if not (options.auto_tools and options.tool_parser):
            raise ApiError('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
        if body["messages"][-1].get("role") == "tool":
            return None
    elif not options.tool_parser:
        shown = f'function "{named}"' if named else f'"{choice}"'
        raise ApiError(f"tool_choice={shown} requires --tool-call-parser to be set")
    functions = [tool.get("function") or tool for tool in tools]
    chosen = next((each for each in functions if named is None or each.get("name") == named), None)
    if chosen is None:
        raise ApiError("The tool specified in `tool_choice` does not match any of the specified `tools`")
    return str(chosen["name"]), text.as_json(chosen.get("parameters") or {"type": "object"}, prompt)


def _turn(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    return flat(message.get("content")) + (json.dumps(calls, sort_keys=True) if calls else "")


def _part(part: dict[str, Any]) -> str:
    if isinstance(part.get("text"), str):
        return str(part["text"])
    if "content" in part:
        return flat(part["content"])
    shape = str(part.get("type", "part"))
    return f"<{shape} {text.digest(json.dumps(part, sort_keys=True)):016x}>"
