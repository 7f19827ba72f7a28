"""The shape of the code: budgets, names, imports, and who may write what."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from models_app.lifecycle import verbs
from models_app.states import TRANSIENT

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sardeenz", "gpus", "models_app", "gateway")
SOURCES = sorted(
    path.relative_to(ROOT)
    for package in (*PACKAGES, "tests")
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)
PRODUCT = [path for path in SOURCES if path.parts[0] in PACKAGES]
DASHBOARD = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "frontend" / "src").rglob("*")
    if path.suffix in (".svelte", ".ts") and not path.name.endswith((".test.ts", ".fake.ts", ".d.ts"))
)
FILE_LINES = 400
COMPONENT_LINES = 250
FUNCTION_LINES = 60
FOLDER_MODULES = 20
LARGE_FOLDERS = {Path("models_app/engines/simulator")}
"""vLLM's surface, one module per group of its paths."""
BROAD_EXCEPT = {
    Path(name)
    for name in (
        "models_app/lifecycle/setbacks.py",
        "models_app/node/loop.py",
        "models_app/management/commands/run_node.py",
        "gateway/wire/downstream.py",
        "sardeenz/run/forks.py",
    )
}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
VAGUE_CLASSES = ("Manager", "Helper", "Util", "Service")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), str(path))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_file_is_longer_than_its_budget(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= FILE_LINES


@pytest.mark.parametrize("path", DASHBOARD, ids=str)
def test_no_part_of_the_dashboard_is_longer_than_its_budget(path: Path) -> None:
    budget = COMPONENT_LINES if path.suffix == ".svelte" else FILE_LINES
    assert len((ROOT / path).read_text().splitlines()) <= budget


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_no_function_is_longer_than_its_budget(path: Path) -> None:
    long = [f.name for f in _functions(_tree(path)) if (f.end_lineno or 0) - f.lineno + 1 > FUNCTION_LINES]
    assert long == []


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_imports_stand_at_the_top(path: Path) -> None:
    inside = [
        node.lineno
        for function in _functions(_tree(path))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_modules_and_classes_are_named_for_their_subject(path: Path) -> None:
    assert path.stem not in VAGUE_NAMES
    classes = [node.name for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if name.endswith(VAGUE_CLASSES) and name not in VAGUE_CLASSES] == []
    assert [name for name in classes if name.startswith("Base")] == []


@pytest.mark.parametrize("path", [path for path in PRODUCT if path not in BROAD_EXCEPT], ids=str)
def test_only_loops_and_the_request_catch_everything(path: Path) -> None:
    handlers = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.ExceptHandler)]
    broad = [h.lineno for h in handlers if h.type is None or ast.unparse(h.type) in ("Exception", "BaseException")]
    assert broad == []


def _writes_state(node: ast.AST) -> bool:
    """`x.state = ...`, `.update(state=...)`, `.create(state=...)`, `update_fields=[..., "state"]`."""
    if isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(target, ast.Attribute) and target.attr == "state" for target in targets)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        writer = node.func.attr in ("update", "create", "get_or_create", "update_or_create", "bulk_create", "save")
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        return writer and ("state" in named or "'state'" in ast.unparse(named.get("update_fields", ast.List([]))))
    return False


def _handles_replicas(path: Path) -> bool:
    return path != Path("models_app/lifecycle/transition.py") and "models_app.models" in (ROOT / path).read_text()


@pytest.mark.parametrize("path", [path for path in PRODUCT if _handles_replicas(path)], ids=str)
def test_only_transition_writes_the_state_of_a_replica(path: Path) -> None:
    assert [node.lineno for node in ast.walk(_tree(path)) if _writes_state(node)] == []


@pytest.mark.parametrize("state", sorted(TRANSIENT))
def test_every_transient_state_has_a_deadline(state: str) -> None:
    assert verbs.deadline_seconds(next(each for each in TRANSIENT if each == state)) > 0


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_nothing_names_a_package_registry(path: Path) -> None:
    text = (ROOT / path).read_text()
    assert [host for host in ("pypi.org", "pythonhosted.org", "registry.npmjs.org") if host in text] == []


def test_imports_point_one_way() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_folder_holds_few_enough_modules_to_find_ones_way() -> None:
    modules = Counter(path.parent for path in [*PRODUCT, *DASHBOARD] if path.name != "__init__.py")
    assert DASHBOARD
    assert {
        folder: count for folder, count in modules.items() if count > FOLDER_MODULES and folder not in LARGE_FOLDERS
    } == {}
