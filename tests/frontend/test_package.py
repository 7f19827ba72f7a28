"""The dashboard builds from any registry, and its types come from the schema alone."""

import io
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
CODE = re.compile(r'^    code(?:: ClassVar\[str\])? = "(\w+)"$', re.MULTILINE)
APPS = ("sardeenz", "models_app", "gpus", "gateway")
ERROR = {"$ref": "#/components/schemas/Error"}


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((FRONTEND / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for name, package in packages.items() if name)


def test_versions_are_exact() -> None:
    wanted = json.loads((FRONTEND / "package.json").read_text())["devDependencies"]
    assert all(version[0].isdigit() for version in wanted.values())


def test_the_schema_needs_no_database_and_is_whole() -> None:
    written = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=written)
    schema = json.loads(written.getvalue())
    assert {"ReplicaRow", "DeploymentRow", "Snapshot", "NodeFrame"} <= set(schema["components"]["schemas"])
    homes = [path for app in APPS for path in (ROOT / app).rglob("errors.py")]
    written_down = {code for path in homes for code in CODE.findall(path.read_text())}
    known = set(schema["components"]["schemas"]["ErrorCode"]["enum"])
    assert written_down < known
    assert known - written_down <= {"parse_error", "not_acceptable", "throttled", "unsupported_media_type"}
    answers = [operation["responses"] for path in schema["paths"].values() for operation in path.values()]
    assert answers
    assert all(each["default"]["content"]["application/json"]["schema"] == ERROR for each in answers)


@pytest.mark.parametrize("page", ["index.html", "public/theme.js", "public/favicon.svg", "src/app.css"])
def test_the_page_asks_no_other_host(page: str) -> None:
    words = (FRONTEND / page).read_text().replace('"', " ").replace("'", " ").split()
    hosts = {urlsplit(word).hostname for word in words if "://" in word}
    assert hosts <= {"www.w3.org"}


def test_formatting_lives_in_one_place() -> None:
    others = [
        path for path in FRONTEND.glob("src/**/*") if path.suffix in (".ts", ".svelte") and "format" not in path.name
    ]
    assert not [path.name for path in others if "toLocaleString" in path.read_text()]
