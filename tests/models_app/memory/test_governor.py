"""The governor's limits: the rules by name, over made scenes, and through an hour of bursts on a simulated GPU."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.memory import governor, reclaim
from models_app.memory.governor import Decision, Wants, Why, Wish
from models_app.memory.reclaim import PAGES_BYTES, Claimant, Device, Neighbour, Scene
from tests.models_app.memory.test_reclaim import GIB, GPU, OTHER, claimant, device, gib, neighbour, scene

ALL = 90 * GIB
"""A wish for whatever there is."""


def limits(seen: Scene, wishes: Mapping[int, Wish] | None = None) -> dict[int, int]:
    return {number: decision.limit_bytes for number, decision in governor.decide(seen, wishes or {}).items()}


def why(found: Mapping[int, Decision]) -> dict[int, Why]:
    return {number: decision.why for number, decision in found.items()}


def test_while_nobody_takes_memory_every_limit_is_the_first_one() -> None:
    assert gib(limits(scene(1, neighbour(7), neighbour(8, limit=12)))) == {7: 63, 8: 12}


def test_what_lacks_is_asked_of_each_by_what_it_has_too_much() -> None:
    seen = scene(15, neighbour(7, mapped=31), neighbour(8, mapped=11), claimants=(claimant(),))
    assert gib(limits(seen)) == {7: 31 - 12, 8: 11 - 4}
    assert why(governor.decide(seen, {})) == {7: Why.CLAIM, 8: Why.CLAIM}


def test_an_engine_of_several_gpus_is_held_to_the_least_of_its_shares() -> None:
    wide = Claimant(1, "wide", {GPU: 26 * GIB, OTHER: 26 * GIB}, GIB)
    seen = Scene({GPU: device(40), OTHER: device(10)}, (wide,), (neighbour(7, 55, 1, 63, GPU, OTHER),))
    assert gib(limits(seen)) == {7: 55 - 21}


def test_nobody_grows_into_the_bytes_of_one_that_loads() -> None:
    seen = scene(41, neighbour(7, mapped=5), neighbour(8, mapped=0), claimants=(claimant(),))
    assert gib(limits(seen)) == {7: 5 + 4.5, 8: 1 + 4.5}


def test_a_floor_is_never_taken() -> None:
    seen = scene(0, neighbour(mapped=3, floor=2), claimants=(claimant(),))
    assert gib(limits(seen)) == {7: 2}
    assert why(governor.decide(seen, {})) == {7: Why.FLOOR}


def test_one_that_works_gets_all_that_those_leave_who_do_not() -> None:
    seen = scene(4, neighbour(7, mapped=30), neighbour(8, mapped=20), neighbour(9, mapped=2))
    assert gib(limits(seen, {7: Wish(ALL)})) == {7: 50, 8: 1, 9: 1}


@pytest.mark.parametrize(("weights", "shares"), [((1, 1), (26, 26)), ((3, 1), (38.5, 13.5)), ((1, 9), (6, 46))])
def test_those_who_compete_get_what_their_weights_say(weights: tuple[int, int], shares: tuple[float, float]) -> None:
    seen = scene(4, neighbour(7, mapped=50), neighbour(8, mapped=2))
    wishes = {7: Wish(ALL, weights[0]), 8: Wish(ALL, weights[1])}
    assert gib(limits(seen, wishes)) == {7: shares[0], 8: shares[1]}
    assert why(governor.decide(seen, wishes)) == {7: Why.SHARE, 8: Why.SHARE}


def test_the_higher_priority_is_served_first_and_leaves_the_other_its_floor() -> None:
    seen = scene(4, neighbour(7, mapped=50, floor=3), neighbour(8, mapped=2))
    assert gib(limits(seen, {7: Wish(ALL, 99), 8: Wish(ALL, 1, priority=5)})) == {7: 3, 8: 49}


def test_nobody_gets_more_than_it_wants_while_others_want_more() -> None:
    seen = scene(4, neighbour(7, mapped=50), neighbour(8, mapped=2))
    assert gib(limits(seen, {7: Wish(ALL), 8: Wish(5 * GIB)})) == {7: 47, 8: 5}


def test_one_alone_on_its_gpu_is_left_to_kvcacheds_own_margin() -> None:
    assert gib(limits(scene(4, neighbour(7, mapped=55)), {7: Wish(ALL)})) == {7: 63}


def test_what_is_decided_is_told_with_what_was_wanted() -> None:
    seen = scene(4, neighbour(7, mapped=50), neighbour(8, mapped=2))
    assert governor.decide(seen, {7: Wish(ALL), 8: Wish(5 * GIB)})[8] == Decision(5 * GIB, 5 * GIB, Why.SHARE)


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
wishes = st.builds(Wish, sizes, st.integers(1, 100), st.integers(-2, 2))
demands = st.dictionaries(st.integers(0, 3), wishes)


@settings(max_examples=300, deadline=None)
@given(scenes)
def test_a_limit_is_never_above_the_first_one_nor_below_what_is_promised(seen: Scene) -> None:
    found = limits(seen)
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
        allowed = limits(seen)
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


@settings(max_examples=300, deadline=None)
@given(scenes, demands)
def test_limits_stay_within_what_is_promised_and_addressable_whatever_is_wished(
    seen: Scene, wished: dict[int, Wish]
) -> None:
    by_id = {one.id: wished[place] for place, one in enumerate(seen.neighbours) if place in wished}
    for one in seen.neighbours:
        least = min(max(one.floor_bytes, PAGES_BYTES), one.first_limit_bytes)
        assert least <= limits(seen, by_id)[one.id] <= one.first_limit_bytes


@settings(max_examples=300, deadline=None)
@given(scenes, demands)
def test_beside_a_claim_no_gpu_is_promised_more_than_it_has_unless_floors_alone_are_more(
    seen: Scene, wished: dict[int, Wish]
) -> None:
    by_id = {one.id: wished[place] for place, one in enumerate(seen.neighbours) if place in wished}
    found = limits(seen, by_id)
    for uuid, each in seen.devices.items():
        claims = [one.needs[uuid] + one.floor_bytes for one in seen.claimants if uuid in one.needs]
        here = seen.on(uuid)
        least = sum(max(one.floor_bytes, PAGES_BYTES) for one in here)
        pool = each.free_bytes + sum(one.mapped_bytes for one in here) - each.margin_bytes - sum(claims)
        if claims:
            assert sum(found[one.id] for one in here) <= max(pool, 0) + least


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


def test_an_engine_that_does_not_answer_wants_what_it_last_wanted() -> None:
    wants, one = Wants(), neighbour(7, mapped=10)
    assert wants.bytes(one, running=None, waiting=None, now=0.0) == 0
    assert wants.bytes(one, running=3, waiting=2, now=1.0) == one.first_limit_bytes
    for second in range(2, 60):
        assert wants.bytes(one, running=None, waiting=None, now=float(second)) == one.first_limit_bytes
    assert wants.bytes(one, running=0, waiting=0, now=69.5) == 0


def test_one_that_idles_after_it_was_short_of_memory_leaves_the_rest_to_others_at_once() -> None:
    wants, one = Wants(), neighbour(7, mapped=10)
    assert wants.bytes(one, running=3, waiting=2, now=0.0) == one.first_limit_bytes
    idle = wants.bytes(one, running=0, waiting=0, now=1.0)
    assert one.mapped_bytes < idle < one.first_limit_bytes
    assert wants.bytes(one, running=1, waiting=1, now=2.0) == one.first_limit_bytes
