"""Whose KV memory goes back for an engine that wakes or loads."""

import pytest

from models_app.memory import reclaim
from models_app.memory.reclaim import Claimant, Device, Neighbour, Scene

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
