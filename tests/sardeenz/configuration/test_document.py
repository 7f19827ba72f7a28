"""What a document may be: every refusal with its line, and texts that stay what was written."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sardeenz.configuration import document, reading, state
from sardeenz.configuration.errors import ConfigurationInvalid
from sardeenz.configuration.shapes import Shape, value

GIB = 1024**3


def wrong(text: str) -> list[tuple[int, str]]:
    """The lines of what is refused, and why."""
    with pytest.raises(ConfigurationInvalid) as refused:
        reading.read(text)
    return [(problem.line, problem.message) for problem in refused.value.problems]


def deployment(*lines: str) -> str:
    return "deployments:\n  chat:\n" + "".join(f"    {line}\n" for line in lines)


def fields(*lines: str) -> dict[str, Any]:
    return reading.read(deployment(*lines)).state["deployments"]["chat"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 0, "empty"),
        ("# nothing\n", 0, "empty"),
        ("- a\n", 1, "begin with sections"),
        ("deployments:\n  chat: {}\n  chat: {}\n", 3, "'chat' stands here again; it is in line 2 already"),
        ("models: {}\nteams: {}\nmodels: {}\n", 3, "in line 1 already"),
        ("deployments:\n  chat:\n    priority: 1\n    priority: 2\n", 4, "in line 3 already"),
        ("models: &all {}\n", 1, "anchors"),
        ("models: {}\nteams: *all\n", 2, "anchors"),
        ("models:\n  a: !!python/name:os.system x\n", 2, "tags"),
        ("models: {}\n---\nmodels: {}\n", 2, "only one document"),
        ("models:\n  a: [1\n", 3, "this is not YAML"),
        ("models:\n\ta: 1\n", 2, "this is not YAML"),
        ("models:\n  a: 'x\n", 3, "this is not YAML"),
        ("models: {}\nteams: \x07\n", 2, "character"),
        ("models:\n  ? [a, b]\n  : 1\n", 2, "a key is one text"),
        ("models:\n  a: " + "[" * 400 + "]" * 400, 2, "nested too deeply"),
        ("deployment:\n  chat: {}\n", 1, "did you mean 'deployments'?"),
        ("deployments:\n", 1, "{} for none"),
        ("deployments: [chat]\n", 1, "{} for none"),
        ("deployments:\n  chat:\n", 2, "fields below it"),
        ("base: [1]\n", 1, "number of a version"),
    ],
)
def test_what_is_refused_names_its_line(text: str, line: int, words: str) -> None:
    found = wrong(text)
    assert [each[0] for each in found] == [line]
    assert words in found[0][1]


def test_an_alias_bomb_is_not_expanded() -> None:
    lines = [
        "a: &a [x, x]",
        *(f"{name}: &{name} [*{before}, *{before}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)),
    ]
    assert wrong("\n".join(lines))[0][0] == 1


def test_too_many_entries_and_too_much_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MOST_NODES", 5)
    assert "more than 5 entries" in wrong("models: [1, 2, 3, 4, 5]")[0][1]
    monkeypatch.setattr(document, "MOST_CHARACTERS", 5)
    assert wrong("models: {}")[0][0] == 0


def test_every_mistake_is_told_at_once() -> None:
    text = deployment("prioritty: 1", "replicas: two", "kv_cap: 6", "pinned: yes", "extra_args: --seed")
    assert [line for line, _ in wrong(text)] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prioritty: 1", "did you mean 'priority'?"),
        ("kv_cap_bytes: 6GiB", "did you mean 'kv_cap'?"),
        ("kv_cap: 6", "with its unit"),
        ("kv_cap: 6 gigs", "is not a size"),
        ("kv_cap: -6GiB", "is not a size"),
        ("replicas: '2'", "whole number"),
        ("replicas: 1e3", "whole number"),
        ("replicas: 0x10", "whole number"),
        ("replicas: 1_000", "whole number"),
        ("replicas: [2]", "one value"),
        ("queue_seconds: .inf", "a number such as"),
        ("queue_seconds: .nan", "a number such as"),
        ("queue_seconds: 1e400", "a number such as"),
        ("queue_seconds: 12:30", "a number such as"),
        ("pinned: yes", "true or false"),
        ("pinned: 'true'", "true or false"),
        ("environment: [A]", "a mapping"),
        ("environment: {HF_TOKEN: hf_abc}", "name a secret of the server"),
        ("environment: {HF_TOKEN: {secret: [a]}}", "name a secret of the server"),
        ("environment: {WANDB_MODE: {secret: a}}", "by its name it is no secret"),
        ("extra_args:", "write a list"),
    ],
)
def test_a_value_that_its_field_cannot_hold_is_refused_in_words(line: str, words: str) -> None:
    ((number, said),) = wrong(deployment(line))
    assert number == 3
    assert words in said


@pytest.mark.parametrize(
    "text", ["no", "on", "y", "1e3", "0o17", "017", "12:30", "2026-11-29", "1_000", "7e12345", "=", "<<"]
)
def test_a_text_field_holds_what_was_written(text: str) -> None:
    assert fields(f"model: {text}", f"extra_args: [{text}]", f"environment: {{A: {text}}}") == {
        "model": text,
        "extra_args": [text],
        "environment": {"A": text},
    }
    assert list(reading.read(f"models:\n  {text}:\n    source: a/b\n").state["models"]) == [text]


def test_numbers_sizes_and_nothing_are_read_as_their_field_holds_them() -> None:
    assert fields("kv_cap: 1.5GiB", "kv_floor: null", "queue_seconds: 1e1", "priority: -2", "pinned: true") == {
        "kv_cap_bytes": 3 * GIB // 2,
        "kv_floor_bytes": None,
        "queue_seconds": 10.0,
        "priority": -2,
        "pinned": True,
    }


def test_json_is_taken_as_well() -> None:
    assert reading.read('{"deployments": {"chat": {"replicas": 2}}}').state == {
        "deployments": {"chat": {"replicas": 2}}
    }


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(TEXT, TEXT, st.integers(0, 2**60))
def test_what_is_written_reads_the_same_here_and_by_a_common_library(name: str, text: str, size_bytes: int) -> None:
    written = {"environment": {name: text}, "extra_args": [text, name], "kv_cap_bytes": size_bytes}
    lines = ["deployments:", *state.block("deployments", "chat", written)]
    if not any(mark in name.upper() for mark in ("TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "KEY")):
        assert reading.read("\n".join(lines)).state["deployments"]["chat"] == written
    elsewhere = yaml.safe_load("\n".join(lines))["deployments"]["chat"]
    assert (elsewhere["environment"], elsewhere["extra_args"]) == (written["environment"], written["extra_args"])


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(6 * GIB, "6GiB"), (3 * GIB // 2, "1.5GiB"), (GIB // 2, "512MiB"), (1025, "1025B"), (2048, "2KiB"), (0, "0B")],
)
def test_a_size_is_written_to_the_byte(size_bytes: int, text: str) -> None:
    assert state.size(size_bytes) == text
    assert fields(f"kv_cap: {text}") == {"kv_cap_bytes": size_bytes}


def test_a_field_of_json_follows_the_rules_of_yaml_1_2() -> None:
    nodes = document.read("a: [no, 017, 1.5, true, ~, '1', 12:30, .inf, {b: 1e3}]").entries["a"][1]
    assert value(nodes, Shape("anything"), "a") == ["no", 17, 1.5, True, None, "1", "12:30", ".inf", {"b": 1000.0}]
