"""Every error a person or program can meet, named by whose fault it is.

SardeenzError
+- Refused      4xx  the caller can fix it
+- Unavailable  503  nobody's fault, later may work; always has `retry_after_seconds`
+- EngineError  502  the engine's fault
+- DeviceError  500  the machine's fault

`code` is stable snake_case and the same in API bodies, Transition rows, metric labels and the UI. `fields` hold
typed facts (`needed_bytes`, `free_bytes`). Each app derives its own classes in its `errors.py`.
"""

from typing import Any, ClassVar


class SardeenzError(Exception):
    """Root of all expected failures."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    @property
    def retry_after_seconds(self) -> float | None:
        """Seconds after which a retry may succeed, or None when a retry cannot help."""
        return None


class Refused(SardeenzError):
    """The caller can fix it."""

    code = "refused"
    status = 400


class InvalidSpec(Refused):
    """A field of the request is wrong; `field` names it."""

    code = "invalid_spec"


class Unauthorized(Refused):
    """No usable credentials were given."""

    code = "unauthorized"
    status = 401


class Forbidden(Refused):
    """The credentials do not allow this."""

    code = "forbidden"
    status = 403


class NotFound(Refused):
    """There is no such thing."""

    code = "not_found"
    status = 404


class Conflict(Refused):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    status = 409


class AlreadyExists(Conflict):
    """There is one of this name; two requests may have asked for it at once."""

    code = "already_exists"


class LimitExceeded(Refused):
    """A limit of the caller was reached."""

    code = "limit_exceeded"
    status = 429

    @property
    def retry_after_seconds(self) -> float | None:
        return float(self.fields.get("retry_after_seconds", 1.0))


class Unavailable(SardeenzError):
    """Not now; later may work."""

    code = "unavailable"
    status = 503

    @property
    def retry_after_seconds(self) -> float | None:
        return float(self.fields.get("retry_after_seconds", 5.0))


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class EngineError(SardeenzError):
    """The engine does not answer in time, refuses what was asked, or answers what cannot be read."""

    code = "engine_error"
    status = 502


class DeviceError(SardeenzError):
    """The machine is at fault: a GPU, a driver, a KV segment, or a process that could not be started."""

    code = "device_error"
    status = 500
