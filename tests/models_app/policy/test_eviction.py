"""Who makes room: the rules by name, every small combination, and models taking turns in virtual time."""

import json
from dataclasses import replace
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.policy import eviction
from models_app.policy.eviction import Resident, Rules, Scene, Sleeper, Verdict, Why
from models_app.traffic.callers import Waiting
from tests.models_app.policy.turns import ASK_SECONDS, GPU, TICK_SECONDS, Engine, Request, World

RULES = Rules(15.0, {-1: 5.0, 0: 30.0, 1: 120.0})
NOW = 1000.0


def sleeper(**fields: object) -> Sleeper:
    """Wants 60 of a GPU; its one request has just come."""
    given = {"id": 1, "name": "wanted", "needs": {GPU: 60}, "waiting": Waiting(1, NOW, 0), "wake_seconds": 2.0}
    return Sleeper(**(given | fields))


def resident(number: int = 2, **fields: object) -> Resident:
    """Holds 60 of it, ready for long and idle."""
    given = {"id": number, "name": f"model-{number}", "frees": {GPU: 60}, "ready_at": NOW - 100, "sleep_seconds": 1.0}
    return Resident(**(given | {"in_flight": 0, "waiting": 0, "wake_seconds": 1.0} | fields))


def seen(
    *residents: Resident, wanted: Sleeper | None = None, free: int = 10, rivals: tuple[Sleeper, ...] = ()
) -> Scene:
    return Scene(NOW, RULES, {GPU: free}, wanted or sleeper(), residents, rivals)


def waited(seconds: float, priority: int = 0) -> Sleeper:
    """The wanted one, whose oldest request has waited so long."""
    return sleeper(waiting=Waiting(3, NOW - seconds, priority))


@pytest.mark.parametrize(("priority", "expected"), [(-7, 5.0), (-1, 5.0), (0, 30.0), (1, 120.0), (9, 120.0)])
def test_the_nearest_entry_at_or_below_a_priority_holds_for_it(priority: int, expected: float) -> None:
    assert RULES.max_wait(priority) == expected


def test_where_there_is_room_nobody_moves() -> None:
    assert eviction.decide(seen(resident(), free=60)).verdict is Verdict.WAKE


def test_an_idle_resident_is_evicted_at_once() -> None:
    decision = eviction.decide(seen(resident()))
    assert (decision.verdict, [one.id for one in decision.residents]) == (Verdict.EVICT, [2])


def test_an_idle_resident_has_its_minimum_residency_first() -> None:
    decision = eviction.decide(seen(resident(ready_at=NOW - 5)))
    assert (decision.verdict, decision.why, decision.until) == (Verdict.WAIT, Why.RESIDENCY, NOW + 10)


def test_the_minimum_residency_is_what_the_swap_costs() -> None:
    assert eviction.decide(seen(resident(ready_at=NOW - 20, sleep_seconds=12.0, wake_seconds=18.0))).until == NOW + 10


@pytest.mark.parametrize(("fields", "patience"), [({"in_flight": 1}, 18.75), ({"waiting": 2}, 22.5)])
def test_a_busy_resident_stays_longer_for_each_request_it_serves(fields: dict[str, int], patience: float) -> None:
    busy = resident(**fields)
    decision = eviction.decide(seen(busy, wanted=waited(12)))
    assert (decision.verdict, decision.why, decision.until) == (Verdict.WAIT, Why.MAX_WAIT, NOW + patience - 12)
    assert eviction.decide(seen(busy, wanted=waited(patience))).verdict is Verdict.EVICT


def test_the_busiest_resident_goes_once_the_maximum_wait_is_over() -> None:
    crowded = resident(in_flight=200)
    assert eviction.decide(seen(crowded, wanted=waited(12))).until == NOW + 18
    assert eviction.decide(seen(crowded, wanted=waited(30))).verdict is Verdict.EVICT


def test_of_two_busy_residents_the_one_that_serves_fewer_goes() -> None:
    fewer, more = resident(3, in_flight=2), resident(2, in_flight=3)
    assert eviction.decide(seen(more, fewer, wanted=waited(30))).residents == (fewer,)


def test_one_that_was_used_lately_stays_for_half_of_the_maximum_wait() -> None:
    lately = resident(used_at=NOW - 0.5)
    decision = eviction.decide(seen(lately))
    assert (decision.verdict, decision.why, decision.until) == (Verdict.WAIT, Why.USED, NOW + 15)
    assert "`model-2` was in use lately and may stay until 00:16:55 UTC" in eviction.words(seen(lately), decision)
    assert eviction.decide(seen(lately, wanted=waited(15))).verdict is Verdict.EVICT
    assert eviction.decide(seen(resident(used_at=NOW - 18))).until == NOW + 2


def test_one_wakes_at_a_time_and_those_who_wait_for_it_are_told() -> None:
    waking, idle = resident(2, ready_at=None, wakes=True), resident(3)
    scene = seen(waking, idle)
    decision = eviction.decide(scene)
    assert (decision.verdict, decision.why, decision.residents) == (Verdict.WAIT, Why.WAKING, (idle,))
    assert eviction.words(scene, decision) == "no room now: `model-2` wakes first"


def test_a_wake_that_lasts_too_long_holds_nobody_up() -> None:
    waking, idle = resident(2, ready_at=None, wakes=True, sleep_seconds=3.0, wake_seconds=4.0), resident(3)
    assert eviction.decide(seen(waking, idle, wanted=waited(36))).why is Why.WAKING
    assert eviction.decide(seen(waking, idle, wanted=waited(37))).residents == (idle,)
    unmeasured = replace(waking, sleep_seconds=None, wake_seconds=None)
    assert eviction.decide(seen(unmeasured, idle, wanted=waited(39))).why is Why.WAKING
    assert eviction.decide(seen(unmeasured, idle, wanted=waited(40))).verdict is Verdict.EVICT


def test_a_load_holds_up_nobody_elses_turn() -> None:
    assert eviction.decide(seen(resident(2, ready_at=None), resident(3))).verdict is Verdict.EVICT


def test_an_urgent_request_waits_less_but_not_less_than_the_residency() -> None:
    assert eviction.decide(seen(resident(in_flight=1), wanted=waited(5, -1))).verdict is Verdict.EVICT
    decision = eviction.decide(seen(resident(in_flight=1, ready_at=NOW - 1), wanted=waited(500, -1)))
    assert (decision.why, decision.until) == (Why.RESIDENCY, NOW + 14)


@pytest.mark.parametrize("fields", [{"pinned": True}, {"copy": True}])
def test_who_may_not_be_evicted_is_named_in_the_refusal(fields: dict[str, bool]) -> None:
    scene = seen(resident(**fields), wanted=waited(9999))
    decision = eviction.decide(scene)
    assert (decision.verdict, decision.residents) == (Verdict.REFUSE, scene.residents)
    scene = replace(scene, wanted=replace(scene.wanted, needs={GPU: 60 << 30}), free={GPU: 10 << 30})
    assert "60 GiB are needed, its GPU has 10 GiB free; what has to stay: `model-2`" in eviction.words(scene, decision)


def test_one_that_cannot_sleep_goes_too_where_its_load_costs_least() -> None:
    sleepless = resident(2, sleep_enabled=False, sleep_seconds=None, wake_seconds=45.0)
    decision = eviction.decide(seen(sleepless))
    assert (decision.verdict, decision.residents) == (Verdict.EVICT, (sleepless,))
    assert "has no sleep mode, so its engine ends" in eviction.why_evicted(seen(sleepless), sleepless)
    assert eviction.decide(seen(sleepless, resident(3))).residents[0].id == 3
    fresh = replace(sleepless, ready_at=NOW - 44)
    assert eviction.decide(seen(fresh)).until == NOW + 1  # it serves at least as long as its load took


def test_what_is_larger_than_the_gpu_is_refused() -> None:
    assert eviction.decide(seen(resident(), wanted=sleeper(needs={GPU: 71}))).verdict is Verdict.REFUSE


@pytest.mark.parametrize(
    ("fields", "why"), [({"ready_at": None}, Why.NOT_READY), ({"in_flight": None, "waiting": None}, Why.UNKNOWN)]
)
def test_nobody_is_evicted_while_it_wakes_or_is_not_known_to_be_idle(fields: dict[str, None], why: Why) -> None:
    decision = eviction.decide(seen(resident(**fields), wanted=waited(9999)))
    assert (decision.verdict, decision.why, decision.until) == (Verdict.WAIT, why, None)


def test_of_several_the_lower_priority_goes_and_then_the_cheaper_swap() -> None:
    cheap, dear = resident(2), resident(3, wake_seconds=9.0)
    assert eviction.decide(seen(dear, cheap)).residents == (cheap,)
    kept = resident(2, priority=5)
    assert eviction.decide(seen(dear, kept)).residents == (dear,)


def test_who_was_used_lately_stays() -> None:
    lately, long_ago = resident(2, used_at=NOW - 1), resident(3, used_at=NOW - 90)
    assert eviction.decide(seen(lately, long_ago)).residents == (long_ago,)


def test_every_gpu_of_a_wide_model_must_have_room() -> None:
    wanted = sleeper(needs={"GPU-0": 60, "GPU-1": 60})
    one, other = resident(2), resident(3, frees={"GPU-1": 60})
    scene = Scene(NOW, RULES, {"GPU-0": 10, "GPU-1": 10}, wanted, (one, other))
    assert eviction.decide(scene).residents == (one, other)
    assert eviction.decide(replace(scene, residents=(one,))).verdict is Verdict.REFUSE


def test_who_has_waited_longer_goes_first() -> None:
    rival = sleeper(id=9, name="rival", waiting=Waiting(1, NOW - 40, 0))
    scene = seen(resident(), wanted=waited(35), rivals=(rival,))
    decision = eviction.decide(scene)
    assert (decision.verdict, decision.why) == (Verdict.WAIT, Why.TURN)
    assert "`rival` has waited longer" in eviction.words(scene, decision)
    assert eviction.decide(replace(scene, wanted=rival, rivals=(scene.wanted,))).verdict is Verdict.EVICT


def test_who_cannot_go_yet_holds_nobody_up() -> None:
    rival = sleeper(id=9, name="rival", needs={GPU: 130}, waiting=Waiting(1, NOW - 10, -1))
    assert eviction.decide(seen(resident(2), resident(3, ready_at=NOW), rivals=(rival,))).verdict is Verdict.EVICT


def test_a_decision_tells_all_its_inputs_as_json() -> None:
    scene = seen(resident(in_flight=4), wanted=waited(31))
    decision = eviction.decide(scene)
    told = json.loads(json.dumps(eviction.explain(scene, decision)))
    assert (told["verdict"], told["concerns"], told["max_wait_seconds"]) == ("evict", [2], 30.0)
    assert (told["residents"][0]["in_flight"], told["wanted"]["waiting"]["count"]) == (4, 3)
    assert eviction.why_evicted(scene, scene.residents[0]) == (
        "evicted for `wanted`: 3 waiting there, the oldest for 31 s of at most 30 s at priority 0; "
        "ready for 100 s of at least 15 s"
    )


def test_the_expected_moment_is_the_end_of_the_wait_and_the_swap() -> None:
    scene = seen(resident(in_flight=8), wanted=waited(12))
    assert eviction.expected_at(scene, eviction.decide(scene)) == NOW + 18 + 1 + 2
    assert eviction.expected_at(seen(free=60), eviction.decide(seen(free=60))) == NOW + 2
    unmeasured = seen(resident(), wanted=sleeper(wake_seconds=None))
    assert eviction.expected_at(unmeasured, eviction.decide(unmeasured)) is None


# --- every combination ------------------------------------------------------------------------------------------------
FLAVOURS = [
    {"pinned": pinned, "sleep_enabled": sleeps, "ready_at": ready_at, "in_flight": in_flight, "waiting": in_flight}
    for pinned, sleeps, ready_at, in_flight in product(
        (False, True), (False, True), (None, NOW - 1, NOW - 100), (None, 0, 1)
    )
]


@pytest.mark.parametrize("since", [0, 22, 23, 31])
def test_no_combination_of_two_residents_breaks_a_rule(since: float) -> None:
    for one, other, size in product(FLAVOURS, FLAVOURS, (30, 70)):
        pair = (resident(2, frees={GPU: 50}, **one), resident(3, frees={GPU: 60}, **other))
        scene = seen(*pair, wanted=sleeper(needs={GPU: size}, waiting=Waiting(1, NOW - since, 0)), free=0)
        decision = eviction.decide(scene)
        movable = [each for each in pair if each.movable]
        assert (decision.verdict is Verdict.REFUSE) == (sum(each.frees[GPU] for each in movable) < size)
        if decision.verdict is Verdict.EVICT:
            for each in decision.residents:
                assert each.movable and each.ready_at == NOW - 100 and each.in_flight is not None
                assert since >= (30 * (1 / 2 + each.load / 8) if each.busy else 0)
        if decision.until is not None:
            assert decision.until > NOW
        assert eviction.words(scene, decision)
        assert eviction.explain(scene, decision)


def cost(chosen: tuple[Resident, ...]) -> tuple[int, float]:
    """What the cheapest set has least of; all are idle for 100 s."""
    return max(one.priority for one in chosen), sum((one.sleep_and_wake_seconds or 0) / 100 for one in chosen)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2), st.floats(0, 5)), min_size=1, max_size=7),
    st.integers(1, 120),
)
def test_no_sufficient_set_is_cheaper_than_the_chosen_one(sizes: list[tuple[int, int, float]], need: int) -> None:
    residents = [
        resident(number, frees={GPU: size}, priority=priority, wake_seconds=seconds)
        for number, (size, priority, seconds) in enumerate(sizes, 2)
    ]
    decision = eviction.decide(seen(*residents, wanted=sleeper(needs={GPU: need}), free=0))
    sets = [some for n in range(1, len(residents) + 1) for some in combinations(residents, n)]
    enough = [some for some in sets if sum(one.frees[GPU] for one in some) >= need]
    assert (decision.verdict is Verdict.EVICT) == bool(enough)
    if enough:
        assert cost(decision.residents) == min(map(cost, enough))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=eviction.EXACT + 1, max_size=30), st.integers(1, 60))
def test_of_many_residents_none_is_evicted_needlessly(sizes: list[int], need: int) -> None:
    residents = [resident(number, frees={GPU: size}) for number, size in enumerate(sizes, 2)]
    decision = eviction.decide(seen(*residents, wanted=sleeper(needs={GPU: need}), free=0))
    given = [one.frees[GPU] for one in decision.residents]
    assert (decision.verdict is Verdict.EVICT) == (sum(sizes) >= need)
    assert decision.verdict is not Verdict.EVICT or need <= sum(given) < need + min(given)


# --- models taking turns ----------------------------------------------------------------------------------------------
LONGEST = 4.0


def engines(count: int, sleep_and_wake_seconds: float) -> list[Engine]:
    """As many models, of which one fits at a time."""
    return [
        Engine(number, f"m{number}", 60, sleep_and_wake_seconds / 2, sleep_and_wake_seconds / 2)
        for number in range(count)
    ]


def check_turns(world: World) -> None:
    """What holds whatever was asked for: all are served, in time, and nobody is evicted before its time."""
    residency = max(world.rules.residency(world._resident(one)) for one in world.engines)
    assert all(stayed >= residency for _, stayed in world.evicted)
    slack = 2 * ASK_SECONDS + 8 * TICK_SECONDS
    turn = residency + LONGEST + world.engines[0].sleep_seconds + world.engines[0].wake_seconds + slack
    for request in world.requests:
        limit = max(world.rules.max_wait(request.priority), residency)
        assert request.began is not None, request
        assert request.began - request.at <= limit + (len(world.engines) - 1) * turn, request


def test_alternating_requests_are_served_in_batches() -> None:
    requests = [Request(f"m{index % 2}", 0.5 * index, 2.0) for index in range(1200)]
    world = World(79, engines(2, 2.0), RULES, requests)
    world.run(720)
    check_turns(world)
    assert sum(engine.wakes for engine in world.engines) <= 600 / (30 * eviction.PATIENCE_RATIO) + 2
    longest = max((request.began or 0.0) - request.at for request in requests)
    assert (
        longest <= 30 + 2 + 2 + ASK_SECONDS + 4 * TICK_SECONDS
    )  # maximum wait, drain, sleep and wake, and when it is asked


def test_a_model_that_nobody_uses_any_more_gives_way_at_once() -> None:
    between = eviction.UNUSED_SECONDS + 5
    requests = [Request(f"m{index % 2}", between * index, 1.0) for index in range(24)]
    world = World(79, engines(2, 2.0), RULES, requests)
    world.run(700)
    check_turns(world)
    assert max((request.began or 0.0) - request.at for request in requests) <= 2 + ASK_SECONDS + 4 * TICK_SECONDS


def test_where_two_fit_one_serves_while_the_other_place_changes_hands() -> None:
    requests = [Request(f"m{index % 3}", 0.4 * index, 1.0) for index in range(900)]
    world = World(139, engines(3, 4.0), Rules(4.0, {0: 5.0}), requests)
    world.run(360)
    assert min(world.serving[20:]) == 1
    assert sum(engine.wakes for engine in world.engines) > 20
    assert max((request.began or 360.0) - request.at for request in requests) < 20


def test_slow_swaps_take_at_most_half_of_the_time() -> None:
    requests = [Request(f"m{index % 2}", 0.5 * index, 1.0) for index in range(2400)]
    world = World(79, engines(2, 20.0), Rules(0.0, {0: 0.0}), requests)
    world.run(1300)
    awake = sum(sum(engine.stays) for engine in world.engines)
    assert awake >= 1200 / 2
    assert sum(engine.wakes for engine in world.engines) > 10


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_whatever_is_asked_for_is_served_in_time_and_nobody_is_evicted_early(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 4), "models")
    sleep_and_wake_seconds = data.draw(st.sampled_from([0.0, 1.0, 6.0, 12.0]), "seconds")
    arrivals = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, count - 1), st.floats(0, 200), st.floats(0.1, LONGEST), st.sampled_from([-1, 0, 0, 1])
            ),
            max_size=120,
        ),
        "requests",
    )
    requests = [Request(f"m{model}", at, seconds, priority) for model, at, seconds, priority in arrivals]
    world = World(79, engines(count, sleep_and_wake_seconds), RULES, requests)
    world.run(200 + 120 + 5 * 80)
    check_turns(world)


# --- no wait without a bound ------------------------------------------------------------------------------------------
RESIDENTS = st.builds(
    dict,
    frees=st.integers(1, 60).map(lambda size: {GPU: size}),
    priority=st.integers(-1, 2),
    pinned=st.booleans(),
    sleep_enabled=st.booleans(),
    copy=st.booleans(),
    ready_at=st.floats(NOW - 200, NOW),
    in_flight=st.integers(0, 2),
    used_at=st.none() | st.floats(NOW - 200, NOW + 200),
    sleep_seconds=st.sampled_from([None, 1.0, 30.0]),
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(RESIDENTS, max_size=6),
    st.integers(1, 200),
    st.floats(0, 200),
    st.sampled_from([-1, 0, 1]),
    st.lists(st.floats(0, 200), max_size=2),
)
def test_no_wait_is_longer_than_its_bound_however_busy_everybody_stays(
    given: list[dict[str, object]], need: int, since: float, priority: int, rivals: list[float]
) -> None:
    residents = tuple(resident(number, **fields) for number, fields in enumerate(given, 2))
    others = tuple(
        sleeper(id=50 + number, name=f"rival-{number}", waiting=Waiting(1, NOW - waited, 0))
        for number, waited in enumerate(rivals)
    )
    wanted = sleeper(needs={GPU: need}, waiting=Waiting(1, NOW - since, priority))
    scene = Scene(NOW, RULES, {GPU: 0}, wanted, residents, others)
    bound = max(
        [NOW, NOW - since + RULES.max_wait(priority), *(one.ready_at + RULES.residency(one) for one in residents)]
    )
    decision = eviction.decide(scene)
    assert decision.until is None or NOW < decision.until <= bound
    assert all(one.movable for one in decision.residents) or decision.verdict is Verdict.REFUSE
    waking = resident(40, frees={GPU: 1}, ready_at=None, wakes=True, sleep_seconds=2.0, wake_seconds=5.0)
    assert eviction.decide(replace(scene, now=bound + 7, residents=(*residents, waking))).why is not Why.WAKING
    final = eviction.decide(late := replace(scene, now=bound))
    if decision.verdict is Verdict.REFUSE:
        assert sum(one.frees[GPU] for one in residents if one.movable) < need
    elif final.verdict is Verdict.WAIT:  # only for one that is due before: it goes, and then nobody is in between
        assert final.why is Why.TURN
        first = next(other for other in others if other.name == final.first)
        ahead = replace(late, wanted=first, rivals=tuple(one for one in (*others, wanted) if one is not first))
        assert eviction.decide(ahead).verdict is Verdict.EVICT
        assert first.waiting.since + 30 <= wanted.waiting.since + RULES.max_wait(priority)
    else:
        assert final.verdict is Verdict.EVICT
