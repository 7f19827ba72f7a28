"""What is written about Sardeenz agrees with it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import exposition
from gateway.metering.tally import Sums

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMPOSE = ROOT / "compose.yaml"
_NAME = re.compile(r"[\"'](SARDEENZ_[A-Z_]+)[\"']")
INTERNAL = {"SARDEENZ_REPLICA", "SARDEENZ_ENGINE_URL", "SARDEENZ_SERVICE"}
SERVICES = {"postgres", "valkey", "web", "gateway", "beat", "control", "node"}


def _settings() -> set[str]:
    sources = [ROOT / "sardeenz" / name for name in ("settings.py", "cli/config.py")]
    return {name for path in sources for name in _NAME.findall(path.read_text())} - INTERNAL


def _compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text()))


@pytest.mark.parametrize("name", sorted(_settings()))
def test_every_setting_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


def test_the_readme_names_no_setting_that_does_not_exist() -> None:
    mentioned = set(re.findall(r"`(SARDEENZ_[A-Z_]+)`", README))
    assert {name.removesuffix("_FILE") for name in mentioned} - _settings() - INTERNAL == set()


def test_every_metric_is_documented_and_no_other() -> None:
    said = set(re.findall(r"# TYPE (\S+)", exposition.text(Sums()).decode()))
    table = (ROOT / "docs" / "observability.md").read_text().partition("## Metrics")[2]
    assert set(re.findall(r"`(sardeenz_gateway_\w+)`", table)) == said


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets


def test_compose_has_every_service_under_an_init() -> None:
    services = _compose()["services"]
    assert set(services) >= SERVICES
    assert [name for name, service in services.items() if not service.get("init")] == []


def test_compose_has_no_default_for_a_secret() -> None:
    text = COMPOSE.read_text()
    for name in ("SARDEENZ_SECRET_KEY", "POSTGRES_PASSWORD", "VALKEY_PASSWORD"):
        uses = re.findall(rf"\$\{{{name}[^}}]*\}}", text)
        assert uses
        assert all(":?" in use for use in uses)


def test_engines_are_on_a_private_network_only() -> None:
    compose = _compose()
    assert compose["networks"]["engines"]["internal"] is True
    assert "ports" not in compose["services"]["node"]


def test_the_compose_variables_are_settings() -> None:
    used = set(re.findall(r"^\s+(SARDEENZ_[A-Z_]+):", COMPOSE.read_text(), re.MULTILINE))
    assert used <= _settings()


def test_the_ci_script_is_bash() -> None:
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=False).returncode == 0
