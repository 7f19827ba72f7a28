"""One code, one meaning: over every class of error, and every reason why an engine failed."""

import ast
import importlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from models_app.engines import diagnose
from sardeenz.errors import SardeenzError

ROOT = Path(__file__).resolve().parents[2]
APPS = ("sardeenz", "gpus", "models_app", "gateway")
NARROWER = {"NobodyMakesRoom", "NothingAnswered", "NotConnected", "Stranger"}
"""They mean what the class above them means, and more is known."""
FILES = [path for app in APPS for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts]


def classes(root: type[SardeenzError] = SardeenzError) -> Iterator[type[SardeenzError]]:
    """Every error of ours, wherever it is defined."""
    for path in FILES:
        if path.name == "errors.py":
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    yield root
    for each in root.__subclasses__():
        yield from classes(each)


def test_every_class_of_error_has_a_code_of_its_own() -> None:
    found = {each for each in classes() if each.__module__.split(".")[0] in APPS}
    assert len(found) > 50
    assert {each.__qualname__ for each in found if "code" not in vars(each)} <= NARROWER
    own = [each.code for each in found if "code" in vars(each)]
    assert [code for code, count in Counter(own).items() if count > 1] == []


def named(call: str) -> list[str]:
    """The codes that are written out in calls of this name."""
    codes = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == call and node.args:
                codes += [str(node.args[0].value)] if isinstance(node.args[0], ast.Constant) else []
    return codes


def test_every_reason_for_a_failure_is_written_out_once() -> None:
    found = named("Rule") + named("Diagnosis")
    assert len(found) > 25
    assert {rule.code for rule in diagnose.RULES} <= set(found)
    assert [code for code, count in Counter(found).items() if count > 1] == []


def test_no_reason_for_a_failure_is_the_code_of_an_error_that_means_something_else() -> None:
    errors = {each.code for each in classes()}
    assert errors.isdisjoint(named("Rule") + named("Diagnosis"))


def steps() -> list[str]:
    """The reasons that the reconciler's own steps write."""
    tree = ast.parse((ROOT / "models_app" / "lifecycle" / "next_step.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    reasons = [call.args[2] for call in calls if call.func.id == "Step" and len(call.args) == 3]  # type: ignore[attr-defined]
    return [str(reason.value) for reason in reasons if isinstance(reason, ast.Constant)]


@pytest.mark.parametrize("reason", sorted(set(steps())))
def test_a_step_has_no_reason_that_a_log_may_give_for_something_else(reason: str) -> None:
    assert reason not in {rule.code for rule in diagnose.RULES}
