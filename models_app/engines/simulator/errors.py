"""What the engine answers when it cannot do as asked, in vLLM's words and shapes."""

from typing import Any

_PHRASES = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError", 501: "NotImplementedError"}


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, message: str, status: int = 400, *, kind: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind or _PHRASES.get(status, "InternalServerError")
        self.param = param

    @classmethod
    def invalid(cls, kind: str, where: str, message: str, given: Any = None) -> "ApiError":
        """A refusal as pydantic words it."""
        shown = {"type": kind, "loc": where, "msg": message, "input": given}
        return cls(f"1 validation error:\n  {shown}", 400, kind="Bad Request", param=where)

    @classmethod
    def value(cls, message: str, param: str, given: Any) -> "ApiError":
        """A parameter out of its range."""
        return cls(f"{message} (parameter={param}, value={given})", 400, param=param)

    @classmethod
    def missing_model(cls, name: Any) -> "ApiError":
        """The answer is vLLM's 404 for a model name that this engine does not serve."""
        return cls(f"The model `{name}` does not exist.", 404, param="model")

    def body(self) -> dict[str, Any]:
        """The body has the shape of OpenAI's errors, with the status as `code`."""
        return {
            "error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status},
        }

    def anthropic_body(self) -> dict[str, Any]:
        """The body has the shape of Anthropic's errors, for /v1/messages."""
        return {"type": "error", "error": {"type": self.kind, "message": self.message}}


class OutOfMemory(Exception):
    """CUDA refused memory, or would have."""

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"CUDA out of memory. Tried to allocate {needed_bytes / 2**30:.2f} GiB. GPU 0 has "
            f"{max(free_bytes, 0) / 2**30:.2f} GiB free."
        )


class EngineStopped(Exception):
    """The engine core is shutting down and takes nothing new."""
