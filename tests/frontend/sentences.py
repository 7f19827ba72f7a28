"""The sentences that the server's code can say, as templates: what is put in at run time is `{0}`, `{1}`, …"""

import ast
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("gpus", "models_app", "gateway", "sardeenz")
# Not on any page: the command line, the admin's pages, the simulated engine, what starts the processes.
APART = {"cli", "management", "migrations", "simulator", "admin.py", "admin"}
OPTIONS = ROOT / "sardeenz" / "options" / "options.toml"

# Calls and keywords whose words are for logs, schemas, spans, the shell or the admin.
_QUIET_CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log", "print", "add_argument"}
_QUIET_KEYWORDS = {"help_text", "verbose_name", "verbose_name_plural", "description", "summary", "help", "epilog"}
_WORD = re.compile(r"[A-Za-z]?[a-z'’-]*[a-z]{2}")
_HOLE = re.compile(r"\{[\w!:.]*\}")
_NOT_PROSE = re.compile(
    r"^\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|FROM|LISTEN|NOTIFY|SET|CREATE|ALTER)\b|^(?:sum|count)\("  # SQL
    r"|\(\?[P:=!i]|\\[bdwsS.\[]|\[\^|\S\|\S"  # patterns
    r"|^(?:Literal|dict|list|tuple|set|type)\["  # types
    r"|^Bearer |^\[yellow\]"  # a header, and the terminal
    r"|^[\w.-]+$|^(?=.*_)[a-z0-9_\s]+$"  # names
)


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Every sentence of a module with its line."""
    tree = ast.parse(path.read_text())
    yield from _Reader(tree).read()


def sources() -> list[Path]:
    """The modules whose words can reach a page."""
    found = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [path for path in found if not APART & set(path.relative_to(ROOT).parts)]


def options() -> list[str]:
    """What the settings page shows of every variable."""
    groups = tomllib.loads(OPTIONS.read_text())["groups"]
    titles = [group["title"] for group in groups]
    options = [option for group in groups for option in group["options"]]
    return titles + [text for one in options for text in (one["meaning"], one["default"]) if is_prose(text)]


def is_prose(text: str) -> bool:
    """Two words with one that is written small: not a name, a path, a query or a pattern."""
    literal = _HOLE.sub("{}", text)
    words = [word.strip("`'\"“”()[],.;:!?…") for word in literal.split()]
    said = [word for word in words if word == "{}" or re.search(r"[A-Za-z]", word)]
    return len(said) > 1 and any(_WORD.fullmatch(word) for word in words) and not _NOT_PROSE.search(literal)


class _Reader:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._pieces: set[int] = set()

    def read(self) -> Iterator[tuple[int, str]]:
        yield from self._of(self._tree, within=False)

    def _of(self, node: ast.AST, within: bool) -> Iterator[tuple[int, str]]:
        """`within`: a fragment that an f-string takes in, so one word is enough."""
        if isinstance(node, ast.JoinedStr | ast.BinOp | ast.Constant):
            holes: list[ast.AST] = []
            text = _template(node, holes)
            if text is not None:
                if is_prose(text) or (within and _is_fragment(text)):
                    yield node.lineno, text  # type: ignore[union-attr]
                for hole in holes:
                    yield from self._of(hole, within=True)
                return
        for child in _heard(node):
            yield from self._of(child, within and isinstance(node, ast.IfExp | ast.BoolOp))


def _is_fragment(text: str) -> bool:
    return bool(re.search(r"\b[a-z]{2,}\b", _HOLE.sub(" ", text))) and not re.search(r"[_/=]", text)


def _template(node: ast.AST, holes: list[ast.AST]) -> str | None:
    """The text of a string expression; what is put in goes to `holes`. None: not a string."""
    if isinstance(node, ast.Constant):
        return (
            _bytes(node.value) if isinstance(node.value, bytes) else node.value if isinstance(node.value, str) else None
        )
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(value, holes) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        before = len(holes)
        sides = [_template(side, holes) for side in (node.left, node.right)]
        if sides != [None, None] and any(sides):
            if sides[0] is None:
                del holes[before:]
                left = _hole(node.left, holes)
                return left + (_template(node.right, holes) or "")
            return sides[0] + (sides[1] if sides[1] is not None else _hole(node.right, holes))
    return None


def _bytes(value: bytes) -> str | None:
    """What the gateway writes while a call waits; the rest of its bytes is HTTP, which has no three words in a row."""
    text = value.decode("latin-1").strip(": \n")
    numbers = itertools.count()
    return (
        re.sub("%[bds]", lambda _: f"{{{next(numbers)}}}", text) if re.search(r"[a-z]+ [a-z]+ [a-z]+", text) else None
    )


def _part(value: ast.expr, holes: list[ast.AST]) -> str:
    if isinstance(value, ast.FormattedValue):
        return _hole(value.value, holes)
    return str(value.value) if isinstance(value, ast.Constant) else ""


def _hole(node: ast.AST, holes: list[ast.AST]) -> str:
    holes.append(node)
    return f"{{{len(holes) - 1}}}"


def _heard(node: ast.AST) -> Iterator[ast.AST]:
    """The children that can hold what a page shows."""
    if isinstance(node, ast.Call) and _called(node) in _QUIET_CALLS:
        return
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in _QUIET_KEYWORDS:
        return
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield from filter(None, [key, value if _key(key) not in _QUIET_KEYWORDS else None])
        return
    if isinstance(node, ast.Attribute) and node.attr == "split":
        return  # a list of names
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring
        if isinstance(child, ast.keyword) and child.arg in _QUIET_KEYWORDS:
            continue
        if isinstance(child, ast.FunctionDef) and child.name in ("__str__", "__repr__"):
            continue
        if isinstance(node, ast.arg | ast.AnnAssign) and child is node.annotation:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and child is node.returns:
            continue
        yield child


def _key(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
