"""Every setting is read by something, and everything that is read is described."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import global_settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = ROOT / "sardeenz" / "settings.py"
PACKAGES = ("sardeenz", "gpus", "models_app", "gateway")
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path != SETTINGS]
OURS_TO_ENGINES = re.compile(r"SARDEENZ_(REPLICA|LAUNCH|ENGINE_URL|SERVICE|SIMULATED_DIR|SIMULATED_GPUS)")
"""What our processes tell each other in the environment; nobody sets these."""


def _from_environment() -> dict[str, str]:
    """Settings that are an environment variable and nothing else, by their name in Django."""
    found = {}
    for node in ast.parse(SETTINGS.read_text()).body:
        if isinstance(node, ast.Assign) and (variable := re.search(r"'(SARDEENZ_\w+)'", ast.unparse(node.value))):
            found |= {target.id: variable[1] for target in node.targets if isinstance(target, ast.Name)}
    return found


def _read(tree: ast.AST) -> Iterator[str]:
    """Names taken from `settings`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "settings":
            yield node.attr


USED = {name for path in SOURCES for name in _read(ast.parse(path.read_text()))}
USED_HERE = re.findall(r"\b[A-Z][A-Z_]+\b", SETTINGS.read_text())


@pytest.mark.parametrize("name", sorted(_from_environment()))
def test_every_setting_is_read(name: str) -> None:
    django_reads_it = hasattr(global_settings, name)
    used = name in USED or USED_HERE.count(name) > 1
    assert used or django_reads_it, f"{_from_environment()[name]} decides nothing"


def test_every_variable_that_is_read_is_described() -> None:
    texts = (path.read_text() for path in [*SOURCES, SETTINGS])
    read = {name for text in texts for name in re.findall(r"[\"'](SARDEENZ_[A-Z_]+)[\"']", text)}
    assert {name for name in read if f"`{name}`" not in README and not OURS_TO_ENGINES.fullmatch(name)} == set()


def test_every_variable_that_is_described_is_read() -> None:
    texts = "".join(path.read_text() for path in [*SOURCES, SETTINGS])
    described = set(re.findall(r"`(SARDEENZ_[A-Z_]+)`", README))
    assert {name for name in described if f'"{name.removesuffix("_FILE")}"' not in texts} == set()
