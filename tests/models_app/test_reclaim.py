"""Whose KV memory goes back for an engine that wakes or loads: the rules by name, and over made scenes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.memory import reclaim
from models_app.memory.reclaim import PAGES_BYTES, Claimant, Device, Neighbour, Scene

GIB = 2**30
GPU, OTHER = "GPU-0", "GPU-1"


def device(free: float, margin: float = 4) -> Device:
    return Device("GPU 0", int(free * GIB), int(margin * GIB))


def claimant(number: int = 1, needs: float = 26, floor: float = 1, uuid: str = GPU) -> Claimant:
    return Claimant(number, f"model-{number}", {uuid: int(needs * GIB)}, int(floor * GIB))


def neighbour(number: int = 7, mapped: float = 55, floor: float = 1, limit: float = 63, *uuids: str) -> Neighbour:
    sizes = (int(size * GIB) for size in (mapped, floor, limit, limit))
    return Neighbour(number, f"model-{number}", frozenset(uuids or (GPU,)), *sizes)


def scene(free: float, *neighbours: Neighbour, claimants: tuple[Claimant, ...] = (), margin: float = 4) -> Scene:
    return Scene({GPU: device(free, margin)}, claimants, neighbours)


def gib(found: dict[object, int]) -> dict[object, float]:
    return {key: size / GIB for key, size in found.items()}


def test_where_the_device_has_the_bytes_it_goes_ahead() -> None:
    assert reclaim.shortage(scene(31, neighbour()), claimant()) == {}


def test_what_a_neighbour_holds_above_its_floor_is_waited_for() -> None:
    assert gib(reclaim.shortage(scene(15, neighbour()), claimant())) == {GPU: 16}


def test_also_when_only_the_margin_lacks_in_which_it_could_map_nothing() -> None:
    assert gib(reclaim.shortage(scene(28, neighbour()), claimant())) == {GPU: 3}


def test_with_nothing_to_give_back_its_own_weights_have_to_fit_and_no_more() -> None:
    tight = neighbour(mapped=1)
    assert reclaim.shortage(scene(26, tight), claimant()) == {}
    assert gib(reclaim.shortage(scene(25, tight), claimant())) == {GPU: 6}


def test_a_device_that_does_not_tell_stops_nobody() -> None:
    assert reclaim.shortage(Scene({}, (), (neighbour(),)), claimant()) == {}


def test_bytes_that_another_one_still_takes_are_not_free() -> None:
    loading, mine = claimant(2, needs=20), claimant()
    assert gib(reclaim.shortage(scene(30, claimants=(loading, mine)), mine)) == {GPU: 21}
    assert reclaim.shortage(scene(30, claimants=(mine, loading)), mine) == {}


def test_every_gpu_of_a_wide_model_must_have_its_bytes() -> None:
    wide = Claimant(1, "wide", {GPU: 26 * GIB, OTHER: 26 * GIB}, GIB)
    seen = Scene({GPU: device(40), OTHER: device(10)}, (wide,), (neighbour(7, 55, 1, 63, GPU, OTHER),))
    assert gib(reclaim.shortage(seen, wide)) == {OTHER: 21}
    assert gib(reclaim.limits(seen)) == {7: 55 - 21}


def test_while_nobody_takes_memory_every_limit_is_the_first_one() -> None:
    assert gib(reclaim.limits(scene(1, neighbour(7), neighbour(8, limit=12)))) == {7: 63, 8: 12}


def test_what_lacks_is_asked_of_each_by_what_it_has_too_much() -> None:
    seen = scene(15, neighbour(7, mapped=31), neighbour(8, mapped=11), claimants=(claimant(),))
    assert gib(reclaim.limits(seen)) == {7: 31 - 12, 8: 11 - 4}


def test_nobody_grows_into_the_bytes_of_one_that_loads() -> None:
    seen = scene(41, neighbour(7, mapped=5), neighbour(8, mapped=0), claimants=(claimant(),))
    assert gib(reclaim.limits(seen)) == {7: 10, 8: 5}


def test_a_floor_is_never_taken() -> None:
    assert gib(reclaim.limits(scene(0, neighbour(mapped=3, floor=2), claimants=(claimant(),)))) == {7: 2}


def test_the_words_name_gpu_and_neighbour_with_their_bytes() -> None:
    seen = scene(15, neighbour(7), neighbour(8, mapped=9), claimants=(claimant(),))
    said = reclaim.words(seen, reclaim.shortage(seen, claimant()))
    assert said == (
        "waits for 16 GiB more of GPU 0: `model-7` holds 55 GiB of KV cache and `model-8` holds 9 GiB of KV cache"
    )


@pytest.mark.parametrize("neighbours", [(), (neighbour(mapped=1),)])
def test_the_words_say_so_where_it_is_nobodys_kv_cache(neighbours: tuple[Neighbour, ...]) -> None:
    said = reclaim.words(scene(3, *neighbours), {GPU: GIB})
    assert said == "waits for 1 GiB more of GPU 0: engines that load, or programs outside Sardeenz, hold it"


sizes = st.integers(0, 90 * GIB)
neighbours = st.builds(
    lambda number, mapped, floor, limit, uuids: Neighbour(number, "n", uuids, mapped, floor, limit, limit),
    number=st.integers(1, 10**6),
    mapped=sizes,
    floor=sizes,
    limit=sizes,
    uuids=st.sampled_from([frozenset({GPU}), frozenset({OTHER}), frozenset({GPU, OTHER})]),
)
claimants = st.builds(
    lambda number, needs, floor: Claimant(number, "c", needs, floor),
    number=st.integers(1, 10**6),
    needs=st.dictionaries(st.sampled_from([GPU, OTHER]), sizes, min_size=1),
    floor=sizes,
)
scenes = st.builds(
    lambda free, claims, others: Scene(
        {uuid: Device(uuid, size, 4 * GIB) for uuid, size in free.items()}, tuple(claims), tuple(others)
    ),
    free=st.dictionaries(st.sampled_from([GPU, OTHER]), sizes),
    claims=st.lists(claimants, max_size=3, unique_by=lambda one: one.id),
    others=st.lists(neighbours, max_size=4, unique_by=lambda one: one.id),
)


@settings(max_examples=300, deadline=None)
@given(scenes)
def test_a_limit_is_never_above_the_first_one_nor_below_what_is_promised(seen: Scene) -> None:
    found = reclaim.limits(seen)
    for one in seen.neighbours:
        least = min(max(one.floor_bytes, PAGES_BYTES), one.first_limit_bytes)
        assert least <= found[one.id] <= one.first_limit_bytes


@settings(max_examples=300, deadline=None)
@given(scenes)
def test_when_every_neighbour_keeps_to_its_limit_the_first_in_line_goes_ahead_or_nobody_has_anything_left(
    seen: Scene,
) -> None:
    """Nobody waits for ever beside neighbours who did as they were told."""
    for _ in range(40):
        allowed = reclaim.limits(seen)
        given_back = {one.id: max(one.mapped_bytes - allowed[one.id], 0) for one in seen.neighbours}
        if not any(given_back.values()):
            break
        seen = _shrunk(seen, given_back)
    if not seen.claimants:
        return
    for uuid in reclaim.shortage(seen, seen.claimants[0]):
        left = sum(one.excess_bytes for one in seen.on(uuid))
        lacks = seen.devices[uuid].free_bytes < sum(one.needs.get(uuid, 0) for one in seen.claimants[:1])
        assert lacks or left <= len(seen.on(uuid)) * (PAGES_BYTES + 64)


def _shrunk(seen: Scene, given_back: dict[int, int]) -> Scene:
    others = tuple(
        Neighbour(
            one.id,
            one.name,
            one.uuids,
            one.mapped_bytes - given_back[one.id],
            one.floor_bytes,
            one.limit_bytes,
            one.first_limit_bytes,
        )
        for one in seen.neighbours
    )
    freed = {uuid: sum(given_back[one.id] for one in seen.on(uuid)) for uuid in seen.devices}
    free = {
        uuid: Device(uuid, device.free_bytes + freed[uuid], device.margin_bytes)
        for uuid, device in seen.devices.items()
    }
    return Scene(free, seen.claimants, others)
