"""What kept a call from its answer, step by step: numbers that its path knows anyway, written with its record."""

import msgspec

MOST_STEPS = 20
"""Of one call: one that meets an engine that accepts no connection asks four times a second."""

MESSAGE_LETTERS = 500

MODEL = "model"
"""The call waited for the model to be ready."""
SEAT = "seat"
"""It stood in the deployment's queue."""
ASKED = "asked"
"""An engine, or a deployment, was asked in vain, and the call went on elsewhere."""
REFUSED = "refused"
"""The end of a call that got no answer, in the words that the caller was told; who cancelled one is told here only."""


class Step(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One step; `after_seconds` counts from the call's arrival. What a step does not know is left out."""

    what: str
    after_seconds: float
    seconds: float
    deployment: str
    state: str = ""
    """In which state the model was met."""
    ahead: int | None = None
    """Calls that stood in the queue before it."""
    seats: int | None = None
    """Calls that may be in flight at once."""
    replica: int | None = None
    code: str = ""
    message: str = ""
