"""What the web processes ask every gateway process about its calls in flight, and what each one answers."""

import msgspec

ROUTING = "routing"
"""The call's limits and its route are looked up."""
WAKING = "waking"
"""It waits for a ready replica."""
QUEUED = "queued"
"""It stands in its deployment's queue for a seat."""
ASKED = "asked"
"""An engine has it and has answered nothing yet."""
STREAMING = "streaming"
"""Its answer is on the way to the client."""
STATES = (ROUTING, WAKING, QUEUED, ASKED, STREAMING)


class RunningCall(msgspec.Struct, frozen=True, gc=False):
    """One call in flight, as its gateway knows it; instants are Unix time."""

    request_id: str
    asked_name: str
    deployment: int | None
    """None until its route is known."""
    key: int
    team: int | None
    path: str
    stream: bool
    state: str
    began_at: float
    since: float
    """When the state began."""
    pieces: int
    """Pieces of content that went to the client; most engines send a token in each."""
    replica: int | None


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """To all gateways. With `cancel` the calls of that request id are ended; else calls are listed."""

    reply_to: str
    limit: int = 0
    deployment: int | None = None
    key: int | None = None
    team: int | None = None
    cancel: str = ""
    actor: str = ""

    @property
    def narrows(self) -> bool:
        """Whether not all calls are asked for."""
        return not (self.deployment is None and self.key is None and self.team is None)


class Answer(msgspec.Struct, frozen=True):
    """Of one gateway."""

    gateway_id: str
    cancelled: int = 0
    states: dict[str, int] = {}
    """How many calls are in which state, those beyond `limit` too."""
    calls: list[RunningCall] = []
    """The newest first."""


read_question = msgspec.json.Decoder(Question).decode
read_answer = msgspec.json.Decoder(Answer).decode
write = msgspec.json.encode
