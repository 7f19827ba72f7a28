"""A replica and a deployment as a forecast imagines them. It changes as the forecast goes on; rows do not."""

from dataclasses import dataclass, field

from models_app.memory import host_rows, placement
from models_app.memory.placement import Need
from models_app.policy.plans.costs import UNKNOWN, Costs
from models_app.spec import BY_STOP
from models_app.states import Goal, State


@dataclass(slots=True)
class Imagined:
    """One replica; bytes are by GPU uuid. One that has no row yet has a negative id."""

    id: int
    deployment: int
    name: str
    """Its deployment's."""
    uuids: tuple[str, ...]
    state: State
    goal: Goal
    awake: dict[str, int]
    asleep: dict[str, int]
    held: dict[str, int]
    weights_bytes: int = 0
    costs: Costs = UNKNOWN
    level: int = 1
    replaces: int | None = None
    disposable: bool = False
    restarting: bool = False
    reason: str = ""
    message: str = ""
    served: bool = False
    restarts: bool = True
    """Whether it starts again by itself; a failed one past its limit does not."""
    fresh: dict[str, int] | None = None
    """What its next start reserves, where its deployment's settings are other ones by now."""
    concerns: tuple[int, ...] = ()
    gives_way_at: float | None = None
    """When those that it waits for may go, from now."""
    gives_way: str = ""
    sleeps: bool = True
    """Whether its engine has sleep mode."""
    until: float | None = None
    """When what it does now is over."""
    told: bool = False
    """Whether its engine was told to sleep."""
    waits: bool = False
    sure: bool = True
    deepens: bool = False
    uses: dict[str, int] = field(default_factory=dict)
    """What its engine was measured to hold awake."""

    @property
    def rests(self) -> bool:
        """Whether its engine ends although it is to sleep."""
        return self.gives_way == BY_STOP or self.reason == host_rows.RESTS or not self.sleeps

    @property
    def waits_without_engine(self) -> bool:
        """Whether it is placed elsewhere as soon as there is room."""
        waits = (self.state, self.goal) == (State.STOPPED, Goal.READY) and not self.gives_way
        return waits and (self.waits or self.reason in placement.FOR_WANT_OF_ROOM) and self.replaces is None

    @property
    def claims(self) -> bool:
        """Whether its place is its own although it does not hold its bytes yet."""
        if self.goal != Goal.READY:
            return False
        put_off = self.state == State.STOPPED and self.reason in placement.FOR_WANT_OF_ROOM
        cold = self.state == State.FAILED and self.reason == placement.CLAIMED
        return cold or (self.state in (State.SLEEPING, State.STOPPED) and not put_off)


@dataclass(slots=True)
class Wish:
    """A deployment: how many of it are to be kept placed, and what one more needs; None where that is unknown."""

    id: int
    name: str
    priority: int
    wanted: bool
    replicas: int
    width: int
    need: Need | None
    costs: Costs = UNKNOWN
