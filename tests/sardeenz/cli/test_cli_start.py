"""The command starts with what a verb needs, and its help can be believed."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer._click import Command
from typer.core import TyperGroup
from typer.testing import CliRunner

from sardeenz.cli import main

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {
    "django",
    "celery",
    "kombu",
    "redis",
    "psycopg",
    "httpx2",
    "rich",
    "opentelemetry",
    "asyncio",
}
LEAVES_THE_API = {"up", "password"}
"""They start servers, and need what servers need."""


def _loaded(code: str) -> set[str]:
    probe = f"{code}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_list_of_verbs_needs_no_verb() -> None:
    loaded = _loaded("from sardeenz.cli import main; main.app(['--help'], standalone_mode=False)")
    assert not loaded & (HEAVY | {"http", "ssl", "email"})


@pytest.mark.parametrize("name", sorted(main.VERBS.keys() - LEAVES_THE_API))
def test_a_verb_loads_none_of_the_servers(name: str) -> None:
    assert not _loaded(f"from sardeenz.cli import main; main.load({name!r})") & HEAVY


def _commands() -> Iterator[tuple[str, Command]]:
    for name in main.VERBS:
        command = main.load(name)
        yield name, command
        if isinstance(command, TyperGroup):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())


COMMANDS = dict(_commands())


@pytest.mark.parametrize("name", sorted(main.VERBS))
def test_the_list_says_of_a_verb_what_the_verb_says(name: str) -> None:
    assert (COMMANDS[name].help or "").startswith(main.VERBS[name].summary)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_help_ends_with_examples_that_parse(name: str) -> None:
    shown = CliRunner().invoke(main.app, [*name.split(), "--help"])
    assert shown.exit_code == 0, shown.output
    examples = shown.output.partition("Examples:")[2].splitlines()
    lines = [line.strip() for line in examples if line.strip()]
    assert lines
    for line in lines:
        words = shlex.split(line.partition(" > ")[0].rpartition(" | ")[2])
        after = words[words.index("sardeenz") + 1 :]
        command = max((each for each in COMMANDS if after[: len(each.split())] == each.split()), key=len)
        given = after[len(command.split()) :]
        COMMANDS[command].make_context(command, given, resilient_parsing=False)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_says_what_it_is(name: str) -> None:
    silent = [each.name for each in COMMANDS[name].params if not getattr(each, "help", None)]
    assert silent == []


def test_a_misspelt_verb_gets_the_nearest() -> None:
    done = CliRunner().invoke(main.app, ["slepe", "chat"])
    assert (done.exit_code, "did you mean 'sleep'" in done.output) == (2, True)


def test_completion_knows_verbs_without_loading_them() -> None:
    group = typer.main.get_command(main.app)
    found = group.shell_complete(typer.Context(group), "s")
    assert [each.value for each in found] == ["status", "start", "stop", "sleep"]
    assert not getattr(group, "commands", None)
