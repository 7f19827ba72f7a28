"""The configuration on the command line, against the real API over HTTP."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models_app.models import Deployment
from sardeenz.cli.main import app
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage", name="command line")[1])
    factories.deployment(name="chat")

    def invoke(*words: str, refused: bool = False, given: str = "") -> Any:
        done = CliRunner().invoke(app, words, input=given)
        assert done.exit_code == int(refused), done.output
        return done

    return invoke


def priority() -> int:
    return Deployment.objects.get(name="chat").priority


def test_export_plan_apply_and_the_way_back(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    run("export", "-o", str(file))
    assert "nothing to change: version 1 is so already, made from version 1" in run("plan", "-f", str(file)).stdout
    file.write_text(file.read_text().replace("priority: 0", "priority: 7"))
    planned = run("plan", "-f", str(file)).stdout
    assert planned.splitlines() == [
        "deployment chat is changed",
        "  priority: 0 -> 7",
        "No replica would do anything.",
        "1 to change; now it is version 1, made from version 1",
    ]
    assert priority() == 0
    assert "applied as version 2" in run("apply", "-f", str(file), "--yes").stdout
    assert priority() == 7
    assert "applied" not in run("apply", "-f", str(file), "--yes").stdout
    listed = run("versions").stdout
    assert "deployments: chat" in listed
    assert "+    priority: 7" in run("versions", "2").stdout
    assert run("export", "1").stdout in file.read_text().replace("priority: 7", "priority: 0")
    assert "priority: 7 -> 0" in run("rollback", "1", "--dry-run").stdout
    assert priority() == 7
    assert "version 1 is back, as version 3" in run("rollback", "1", "--yes").stdout
    assert priority() == 0


def test_a_refusal_names_lines_and_nothing_is_changed_without_a_yes(run: Any) -> None:
    wrong = run(
        "apply", "-f", "-", "--yes", refused=True, given="deployments:\n  chat:\n    prioritty: 7\n    kv_cap: 6\n"
    )
    assert "line 3: deployments.chat: there is no field 'prioritty'; did you mean 'priority'?" in wrong.output
    assert "line 4: deployments.chat.kv_cap: write a size with its unit" in wrong.output
    assert "(configuration_invalid)" in wrong.output
    silent = run("apply", "-f", "-", refused=True, given="deployments: {chat: {priority: 7}}")
    assert "say --yes" in silent.output
    assert priority() == 0
    run("apply", "-f", "-", "--dry-run", given="deployments: {chat: {priority: 7}}")
    assert priority() == 0


def test_programs_get_json(run: Any) -> None:
    shown = json.loads(run("plan", "-f", "-", "--json", given="deployments: {chat: {priority: 7}}").stdout)
    assert [each["fields"] for each in shown["changes"]] == [["priority"]]
    done = json.loads(run("apply", "-f", "-", "--json", "--yes", given="deployments: {chat: {priority: 7}}").stdout)
    assert done["version"] == 2
    back = json.loads(run("rollback", "1", "--json", "--yes").stdout)
    assert (back["version"], priority()) == (3, 0)


def test_a_file_that_cannot_be_read_or_written_is_said(run: Any, tmp_path: Path) -> None:
    assert "cannot be read" in run("plan", "-f", str(tmp_path / "none.yaml"), refused=True).output
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in run("plan", "-f", str(tmp_path / "binary"), refused=True).output
    assert "cannot be written" in run("export", "-o", str(tmp_path / "no" / "where"), refused=True).output
