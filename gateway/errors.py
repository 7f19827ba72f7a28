"""What can go wrong between a caller and a model."""

from sardeenz.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidSpec,
    LimitExceeded,
    NotFound,
    Refused,
    SardeenzError,
    Unauthorized,
    Unavailable,
)


class InvalidApiKey(Unauthorized):
    """The key is missing, unknown, expired or revoked."""

    code = "invalid_api_key"


class MissingScope(Forbidden):
    """The key is good, but not for inference."""

    code = "missing_scope"


class InvalidBody(InvalidSpec):
    """The body is not JSON, or lacks `model`; field: param."""

    code = "invalid_body"


class BodyTooLarge(Refused):
    """The body exceeds SARDEENZ_BODY; field: limit_bytes."""

    code = "body_too_large"
    status = 413


class BadRequest(Refused):
    """What arrived is not an HTTP/1.1 request."""

    code = "bad_request"


class HeadTooLarge(Refused):
    """The request line and headers are too large."""

    code = "headers_too_large"
    status = 431


class RequestTimeout(Refused):
    """The request took longer to arrive than SARDEENZ_SLOW_SECONDS allows."""

    code = "request_timeout"
    status = 408


class InternalError(SardeenzError):
    """A bug of the gateway ended the call; the cause stands only in the gateway's log."""

    code = "internal_error"
    status = 500


class ModelNotAllowed(Forbidden):
    """The key may not ask for this model."""

    code = "model_not_allowed"


class RequestLimit(LimitExceeded):
    """The key or its team has no request left this minute; fields: limit, headers."""

    code = "request_limit"


class TokenLimit(LimitExceeded):
    """The key or its team has too few tokens left this minute; fields: limit, headers."""

    code = "token_limit"


class ConcurrencyLimit(LimitExceeded):
    """As many requests of the key or its team as may be are in flight; fields: limit, headers."""

    code = "concurrency_limit"


class BudgetExceeded(LimitExceeded):
    """The key or its team used up what it has for this UTC day or month; fields: limit, headers."""

    code = "budget_exceeded"


class QueueFull(Unavailable):
    """As many requests as the deployment allows already wait for a seat; field: limit."""

    code = "queue_full"


class QueueTimeout(Unavailable):
    """No seat became free while the request waited in the deployment's queue."""

    code = "queue_timeout"


class NoReplicaAnswers(Unavailable):
    """Every replica of the deployment failed lately and is left alone for a while."""

    code = "no_replica_answers"


class ContextExceeded(Refused):
    """The engine says that the prompt is longer than its context; another deployment is to be asked."""

    code = "context_length_exceeded"


class EndpointNotSupported(NotFound):
    """The model's engine does not serve this path."""

    code = "endpoint_not_supported"


class EngineFailed(EngineError):
    """The engine answered with a 5xx, or with 200 and then said that it failed; field: status."""

    code = "engine_failed"


class CancelledByOperator(Unavailable):
    """An operator ended the call; field: actor, which its caller is not told."""

    code = "cancelled_by_operator"


class CallUnknown(NotFound):
    """No gateway has a call of this request id in flight; it may have ended a moment ago."""

    code = "call_unknown"


class CallsUnavailable(Unavailable):
    """Redis does not answer, or a gateway does not say whether the call is one of its own; field: silent."""

    code = "calls_unavailable"


class AnswerIncomplete(EngineError):
    """The engine ended its answer in good order, but before it was complete."""

    code = "answer_incomplete"


class MethodNotAllowed(Refused):
    """The path exists, the method does not; field: allow."""

    code = "method_not_allowed"
    status = 405


class UnknownPath(NotFound):
    """The gateway does not serve this path."""

    code = "unknown_path"


class ModelNotFound(NotFound):
    """No deployment has this served name."""

    code = "model_not_found"


class ResponseNotFound(NotFound):
    """No replica is known to hold this stored response."""

    code = "response_not_found"


class KeysUnavailable(Unavailable):
    """The database is away, so a key that is not known yet cannot be judged."""

    code = "keys_unavailable"


class ResponsesUnavailable(Unavailable):
    """Redis is away, so a response that another process made cannot be found."""

    code = "responses_unavailable"


class ModelFailed(Unavailable):
    """The deployment has failed, so that a request is refused at once instead of held."""

    code = "model_failed"


class WakeTimeout(Unavailable):
    """The model did not become ready while the request was held."""

    code = "wake_timeout"


class WaitLimit(Unavailable):
    """Too many requests, or too many bytes, are already held."""

    code = "wait_limit"


class BenchmarkRunning(Conflict):
    """Another benchmark measures on the same GPUs; field: benchmarks."""

    code = "benchmark_running"


class DrillStuck(EngineError):
    """A model did not do in time what a drill asked of it."""

    code = "drill_stuck"


class NothingElastic(Conflict):
    """The models asked for have no elastic KV memory, so that a drill has nothing to compare."""

    code = "nothing_elastic"


class BenchmarkEnded(Conflict):
    """The benchmark has ended, so that there is nothing to cancel."""

    code = "benchmark_ended"


class CapturesUnavailable(Unavailable):
    """Redis, which keeps captured calls, does not answer."""

    code = "captures_unavailable"


class RefusalsUnavailable(Unavailable):
    """Redis, which keeps who was refused, does not answer."""

    code = "refusals_unavailable"


class RoutesUnavailable(Unavailable):
    """The route table could not be read even once yet."""

    code = "routes_unavailable"


class KeyRevoked(Conflict):
    """A revoked key is never changed or brought back."""

    code = "key_revoked"


class TeamInUse(Conflict):
    """Keys belong to the team; field: keys."""

    code = "team_in_use"


class NothingKnown(NotFound):
    """There is no deployment, replica or call of this name, and history does not know one either; field: of."""

    code = "nothing_known"


class NoResult(Conflict):
    """The benchmark has no result, or none yet."""

    code = "no_result"


class NoRunner(Unavailable):
    """Redis, over which runners are started, does not answer."""

    code = "benchmarks_unavailable"


class GatewayUnreachable(EngineError):
    """The web process reaches no gateway, or the gateway broke off in the middle of an answer."""

    code = "gateway_unreachable"
