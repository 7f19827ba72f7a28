"""When limits cannot do it: what lacks, and that nobody is asked to sleep for what passes by itself."""

from models_app.memory.governor import Decision, Why
from models_app.memory.reclaim import PAGES_BYTES, Claimant, Device, Neighbour, Scene
from models_app.memory.watermark import LACK_SECONDS, PAUSE_SECONDS, Lacks, lacking

GIB = 2**30


def engine(number: int, mapped: int, floor: int = 1) -> Neighbour:
    return Neighbour(number, f"model-{number}", frozenset({"a"}), mapped * GIB, floor * GIB, 50 * GIB, 50 * GIB)


def lacks(free: int, *here: Neighbour, working: int = 1, claims: tuple[Claimant, ...] = ()) -> float:
    """GiB that lack of a GPU whose margin is 4 GiB, while the engine `working` wants all it can get."""
    decided = {one.id: Decision(one.floor_bytes, 50 * GIB if one.id == working else 0, Why.FLOOR) for one in here}
    return lacking(Scene({"a": Device("GPU 0", free * GIB, 4 * GIB)}, claims, here), "a", decided) / GIB


def test_what_lacks_is_what_no_limit_gives_back() -> None:
    assert lacks(1, engine(1, 1), engine(2, 1)) == 3, "the margin, without which kvcached maps nothing"
    assert lacks(1, engine(1, 1), engine(2, 3)) == 1, "two of them come back from the idle one"
    assert lacks(1, engine(1, 9), engine(2, 1)) == 0, "or from the one at work itself"
    assert lacks(5, engine(1, 2, floor=8)) == 5, "its floor was promised to it"


def test_nothing_lacks_while_nobody_wants_to_grow_or_somebody_comes() -> None:
    assert lacks(1, engine(1, 1), engine(2, 1), working=0) == 0
    coming = Claimant(3, "model-3", {"a": 20 * GIB}, GIB)
    assert lacks(1, engine(1, 1), engine(2, 1), claims=(coming,)) == 0


def test_a_lack_has_to_last() -> None:
    seen = Lacks()
    assert seen.due({"a": GIB}, 0.0) == []
    assert seen.due({"a": GIB}, LACK_SECONDS - 1) == []
    assert seen.due({"a": GIB}, LACK_SECONDS) == ["a"]


def test_it_begins_above_a_few_pages_and_ends_at_none() -> None:
    seen = Lacks()
    assert [seen.due({"a": PAGES_BYTES}, now) for now in (0.0, 100.0)] == [[], []]
    seen.due({"a": PAGES_BYTES + 1}, 100.0)
    assert seen.due({"a": 1}, 100.0 + LACK_SECONDS) == ["a"], "one that flutters around the mark lasts"
    assert seen.due({"a": 0}, 115.0) == []
    assert seen.due({"a": GIB}, 116.0) == [], "and counts anew once it was over"


def test_who_was_asked_has_time_to_go() -> None:
    seen = Lacks()
    seen.due({"a": GIB, "b": GIB}, 0.0)
    seen.asked("a", LACK_SECONDS)
    assert seen.due({"a": GIB, "b": GIB}, LACK_SECONDS + 1) == ["b"]
    assert seen.due({"a": GIB, "b": GIB}, LACK_SECONDS + PAUSE_SECONDS) == ["a", "b"]
