"""What callers send, flattened to one text, and what they demand of the answer."""

import json
from dataclasses import dataclass
from typing import Any

from models_app.engines.simulator import text
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.flags import Options


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the engine reads: a text, and its tokens, which a caller may have given as numbers."""

    text: str
    tokens: tuple[int, ...]

    @classmethod
    def of(cls, words: str) -> "Prompt":
        """A text, with the tokens it has."""
        return cls(words, tuple(text.tokenize(words)))

    def cut(self, body: dict[str, Any]) -> "Prompt":
        """Its last tokens, where the caller wants it shortened. Raises ApiError when none are left."""
        kept = body.get("truncate_prompt_tokens")
        if kept is None or kept == -1 or kept >= len(self.tokens):
            return self
        if kept == 0:
            raise ApiError("The decoder prompt cannot be empty")
        tokens = self.tokens[-kept:]
        return Prompt(text.detokenize(tokens), tokens)


def from_messages(body: dict[str, Any]) -> str:
    """The chat template: roles and contents in order, tools first."""
    messages = body.get("messages")
    if messages is None:
        raise ApiError.invalid("missing", "body.messages", "Field required", f"<dict of {len(body)} items>")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ApiError.invalid("list_type", "body.messages", "Input should be a valid list", repr(messages)[:200])
    if body.get("continue_final_message") and body.get("add_generation_prompt", True):
        raise ApiError(
            "continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you "
            "want the model to continue the final message, and add_generation_prompt when you want the model to add "
            "a header that will prompt it to start a new assistant message instead."
        )
    if not messages:
        raise ApiError("Cannot apply chat template to an empty conversation. Provide at least one message.")
    tools = body.get("tools")
    head = f"<|tool|>{json.dumps(tools, sort_keys=True)}" if tools else ""
    system = body.get("system")
    head += f"<|system|>{flat(system)}" if system else ""
    turns = [f"<|{message.get('role', 'user')}|>{_turn(message)}" for message in messages]
    return head + "".join(turns) + ("<|assistant|>" if body.get("add_generation_prompt", True) else "")


def echoed(body: dict[str, Any]) -> str:
    """What a chat's answer begins with when it is to repeat the answer that it goes on with."""
    last = body["messages"][-1]
    repeats = body.get("echo") and last.get("role") == "assistant"
    return flat(last.get("content")) if repeats else ""


def flat(content: Any) -> str:
    """A content as text; what is not text becomes a mark that differs with it."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, dict):
        content = [content]
    return "".join(part if isinstance(part, str) else _part(part) for part in content)


def from_completion(body: dict[str, Any], field: str = "prompt") -> list[Prompt]:
    """The prompts of /v1/completions: a text, texts, tokens, or lists of tokens."""
    given = body.get(field)
    if given == []:
        raise ApiError("You must pass at least one prompt")
    if given is None or given == "":
        message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)"
        raise ApiError(message, param="prompt")
    if isinstance(given, str):
        return [Prompt.of(given)]
    if not isinstance(given, list):
        raise ApiError.invalid("string_type", "body.prompt", "Input should be a valid string", repr(given)[:200])
    if isinstance(given[0], int):
        return [_from_tokens(given)]
    if any(isinstance(each, str) != isinstance(given[0], str) for each in given):
        message = "Input should be a valid integer, unable to parse string as an integer"
        raise ApiError.invalid("int_parsing", "body.prompt.0", message, given[0])
    return [Prompt.of(each) if isinstance(each, str) else _from_tokens(each) for each in given]


def _from_tokens(numbers: list[Any]) -> Prompt:
    for place, token in enumerate(numbers):
        if not isinstance(token, int) or token < 0:
            message = "Input should be greater than or equal to 0"
            raise ApiError.invalid("greater_than_equal", f"body.prompt.{place}", message, token)
        if token >= text.VOCABULARY:
            raise ApiError(f"Token id {token} is out of vocabulary")
    return Prompt(text.detokenize(numbers), tuple(numbers))


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
