"""Which requests vLLM 0.30 refuses before it generates anything, in its own words; seen with the real one."""

from collections.abc import Callable
from typing import Any

from models_app.engines.simulator import text
from models_app.engines.simulator.errors import ApiError

MOST_LOGPROBS = 20
_KINDS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")
_FORMATS = ("text", "json_object", "json_schema", "structural_tag")
_NUMBERS = (
    "temperature",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "length_penalty",
)
_INTEGERS = ("n", "top_k", "seed", "min_tokens", "truncate_prompt_tokens")


def number(body: dict[str, Any], *names: str) -> int | None:
    """The first integer among these fields."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise ApiError.invalid("int_parsing", f"body.{name}", "Input should be a valid integer", value)
        return value
    return None


def _between(low: float, high: float) -> Callable[[float], bool]:
    return lambda value: low <= value <= high


_RULES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("n", lambda value: value >= 1, "n must be at least 1, got {}."),
    ("presence_penalty", _between(-2, 2), "presence_penalty must be in [-2, 2], got {}."),
    ("frequency_penalty", _between(-2, 2), "frequency_penalty must be in [-2, 2], got {}."),
    ("repetition_penalty", lambda value: value > 0, "repetition_penalty must be greater than zero, got {}."),
    ("top_k", lambda value: value >= 1 or value in (0, -1), "top_k must be 0 (disable), or at least 1, got {}."),
    ("min_p", _between(0, 1), "min_p must be in [0, 1], got {}."),
    ("min_tokens", lambda value: value >= 0, "min_tokens must be greater than or equal to 0, got {}."),
)


def check(body: dict[str, Any], *, max_tokens: int | None) -> None:
    """Raise ApiError where vLLM would."""
    _check_types(body)
    for name, holds, words in _RULES:
        value = body.get(name)
        if value is not None and not holds(value):
            raise ApiError(words.format(value if name in _INTEGERS else float(value)))
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if temperature is not None and temperature < 0:
        value = float(temperature)
        raise ApiError.value(f"temperature must be non-negative, got {value}.", "temperature", value)
    if top_p is not None and not 0 < top_p <= 1:
        raise ApiError.value(f"top_p must be in (0, 1], got {float(top_p)}.", "top_p", float(top_p))
    least = body.get("min_tokens") or 0
    if max_tokens is not None and least > max_tokens:
        raise ApiError(f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {least}.")
    _check_words(body)
    _check_tokens(body)
    _check_formats(body)


def check_logprobs(body: dict[str, Any], sample: int | None, *, prompt: int | None) -> None:
    """Raise ApiError for log-probabilities that cannot be had: of `sample` or `prompt` alternatives."""
    if body.get("stream") and prompt is not None:
        raise ApiError(
            "`prompt_logprobs` are not available when `stream=True`. (parameter=prompt_logprobs)",
            param="prompt_logprobs",
        )
    for kind, wanted, name in (("sample", sample, "logprobs"), ("prompt", prompt, "prompt_logprobs")):
        count = text.VOCABULARY if wanted == -1 else wanted or 0  # -1 is every token there is
        if count > MOST_LOGPROBS:
            message = f"Requested {kind} logprobs of {count}, which is greater than max allowed: {MOST_LOGPROBS}"
            raise ApiError.value(message, name, count)


def check_stream_options(body: dict[str, Any]) -> None:
    """Raise ApiError for options of a stream where there is none."""
    if body.get("stream_options") and not body.get("stream"):
        raise ApiError(
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)", param="stream_options"
        )


def _check_types(body: dict[str, Any]) -> None:
    for name in _NUMBERS:
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            message = "Input should be a valid number, unable to parse string as a number"
            raise ApiError.invalid("float_parsing", f"body.{name}", message, value)
    for name in _INTEGERS:
        number(body, name)
    cut = body.get("truncate_prompt_tokens")
    if cut is not None and cut < -1:
        where, message = "body.truncate_prompt_tokens", "Input should be greater than or equal to -1"
        raise ApiError.invalid("greater_than_equal", where, message, cut)


def _check_words(body: dict[str, Any]) -> None:
    stop = body.get("stop")
    if isinstance(stop, list) and "" in stop:
        raise ApiError("stop cannot contain an empty string.")
    if stop is not None and not isinstance(stop, str | list):
        raise ApiError.invalid("string_type", "body.stop", "Input should be a valid string", stop)
    if stop == "":
        raise ApiError("stop cannot contain an empty string.")
    bad = body.get("bad_words") or []
    if "" in bad:
        raise ApiError(f"bad_words cannot contain an empty string. Got bad_words={bad}")
    if body.get("cache_salt") == "":
        message = "Parameter 'cache_salt' must be a non-empty string if provided. (parameter=cache_salt)"
        raise ApiError(message, param="cache_salt")


def _check_tokens(body: dict[str, Any]) -> None:
    wrong = [key for key in body.get("logit_bias") or {} if not str(key).lstrip("-").isdigit()]
    if wrong:
        message = "logit_bias contains key(s) that cannot be converted to integer token IDs:"
        raise ApiError.value(f"{message} {wrong}", "logit_bias", wrong)
    allowed = body.get("allowed_token_ids")
    if allowed == []:
        raise ApiError.value("allowed_token_ids is not None and empty!", "allowed_token_ids", allowed)
    if any(not 0 <= token < text.VOCABULARY for token in allowed or []):
        raise ApiError.value("allowed_token_ids contains out-of-vocab token id!", "allowed_token_ids", allowed)


def _check_formats(body: dict[str, Any]) -> None:
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") not in _FORMATS:
        message = "Input should be 'text', 'json_object' or 'json_schema'"
        raise ApiError.invalid("literal_error", "body.response_format.type", message, wanted.get("type"))
    outputs = body.get("structured_outputs")
    if isinstance(outputs, dict) and sum(outputs.get(kind) is not None for kind in _KINDS) > 1:
        raise ApiError("You can only use one kind of constraints for structured outputs ('json', 'regex' or 'choice').")
