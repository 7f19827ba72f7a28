"""Who wins where a document, its base and the rows differ."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sardeenz.configuration.compare import Change, compare

Rows = dict[str, dict[str, Any]]


def of(wanted: Rows, now: Rows, base: Rows | None = None, *, prune: bool = False) -> Any:
    return compare({"models": wanted}, {"models": now}, None if base is None else {"models": base}, prune=prune)


def test_without_a_base_the_document_is_right() -> None:
    found = of({"a": {"x": 1}, "b": {"x": 1}}, {"a": {"x": 2, "y": 3}, "c": {"x": 1}})
    assert found.changes == [
        Change("models", "a", "change", {"x": (2, 1)}),
        Change("models", "b", "create", {"x": (None, 1)}),
    ]


def test_what_the_author_did_not_touch_stays_as_others_made_it() -> None:
    found = of({"a": {"x": 1, "y": 5}}, {"a": {"x": 2, "y": 1}}, {"a": {"x": 1, "y": 1}})
    assert found.changes == [Change("models", "a", "change", {"y": (1, 5)})]
    assert [(each.field, each.was, each.now) for each in found.kept] == [("x", 1, 2)]
    assert found.conflicts == []


def test_the_same_field_changed_by_both_is_a_conflict_unless_to_the_same() -> None:
    found = of({"a": {"x": 3, "y": 2}}, {"a": {"x": 2, "y": 2}}, {"a": {"x": 1, "y": 1}})
    assert [(each.field, each.was, each.now, each.wanted) for each in found.conflicts] == [("x", 1, 2, 3)]
    assert found.changes == []


def test_both_made_it_differently() -> None:
    found = of({"a": {"x": 3, "y": 1}}, {"a": {"x": 2, "y": 1}}, {})
    assert [each.field for each in found.conflicts] == ["x"]


def test_deleted_by_others_stays_deleted_unless_the_author_changed_it() -> None:
    assert [each.name for each in of({"a": {"x": 1}}, {}, {"a": {"x": 1}}).kept] == ["a"]
    assert [each.name for each in of({"a": {"x": 2}}, {}, {"a": {"x": 1}}).conflicts] == ["a"]


def test_only_prune_deletes_and_only_what_the_author_saw() -> None:
    now = {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 2}}
    assert of({}, now).changes == []
    assert of({}, now, prune=True).changes == [Change("models", name, "delete") for name in "abc"]
    found = of({}, now, {"a": {"x": 1}, "c": {"x": 1}}, prune=True)
    assert found.changes == [Change("models", "a", "delete")]
    assert [each.name for each in found.kept] == ["b"]
    assert [(each.name, each.field) for each in found.conflicts] == [("c", "x")]


def test_a_section_that_is_not_there_is_left_alone() -> None:
    assert compare({"teams": {}}, {"models": {"a": {}}, "teams": {}}, None, prune=True).changes == []


ROWS = st.dictionaries(st.sampled_from("abc"), st.fixed_dictionaries({"x": st.integers(0, 2), "y": st.integers(0, 2)}))


def _after(found: Any, now: Rows) -> Rows:
    rows = {name: dict(fields) for name, fields in now.items()}
    for change in found.changes:
        if change.verb == "delete":
            del rows[change.name]
        else:
            rows.setdefault(change.name, {}).update({key: new for key, (_, new) in change.fields.items()})
    return rows


@given(ROWS, ROWS)
def test_the_whole_state_applied_and_pruned_is_that_state(wanted: Rows, now: Rows) -> None:
    assert _after(of(wanted, now, prune=True), now) == wanted


@given(ROWS, ROWS, st.none() | ROWS, st.booleans())
def test_applying_twice_changes_nothing_the_second_time(
    wanted: Rows, now: Rows, base: Rows | None, prune: bool
) -> None:
    found = of(wanted, now, base, prune=prune)
    if not found.conflicts:
        again = of(wanted, _after(found, now), base, prune=prune)
        assert (again.changes, again.conflicts) == ([], [])


@given(ROWS, ROWS, ROWS)
def test_nothing_that_others_changed_is_overwritten(wanted: Rows, now: Rows, base: Rows) -> None:
    found = of(wanted, now, base, prune=True)
    for change in found.changes:
        for key in change.fields if change.name in now else ():
            assert now[change.name][key] == base[change.name][key]
        if change.verb == "delete":
            assert now[change.name] == base[change.name]
