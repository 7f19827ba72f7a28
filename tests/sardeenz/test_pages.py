"""The dashboard's frame and the health page."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from sardeenz import pages
from tests import factories

KNOWN_TO_THE_PAGE = Path(__file__).resolve().parents[2] / "frontend" / "src" / "lib" / "pages.ts"


def test_health_asks_no_server(client: Client) -> None:
    assert client.get("/health").json()["status"] == "ok"


def test_the_dashboard_and_the_server_know_the_same_addresses() -> None:
    known = re.findall(r'href: "([^"]+)"', KNOWN_TO_THE_PAGE.read_text())
    assert sorted(known) == sorted(f"/{address}" for address in pages.ADDRESSES)
    things = re.findall(r'href: "([^"]+)", .*things: true', KNOWN_TO_THE_PAGE.read_text())
    assert sorted(things) == sorted(f"/{address}" for address in pages.THINGS)


@pytest.mark.parametrize(
    "path",
    ["/", "/models", "/access", "/access/teams", "/usage?days=7", "/benchmarks/3", "/benchmarks/compare?ids=3,4"],
)
def test_every_address_of_the_dashboard_shows_its_page(
    client: Client, settings: Any, tmp_path: Path, path: str
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>")
    settings.FRONTEND_DIST = tmp_path
    answer = client.get(path)
    assert answer.content == b"<!doctype html>"
    assert "csrftoken" in answer.cookies


def test_a_dashboard_that_is_not_built_says_so(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.FRONTEND_DIST = tmp_path
    answer = client.get("/")
    assert (answer.status_code, b"make frontend" in answer.content) == (503, True)


@pytest.mark.parametrize("path", ["/api/none", "/static/none.js", "/v1/models", "/api", "/access/none", "/usages"])
def test_what_is_no_page_is_not_found_and_programs_are_told_where_to_look(client: Client, path: str) -> None:
    for answer in (client.get(path), client.post(path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert path in answer.json()["message"]
        assert ("gateway" if path.startswith("/v1") else "/api/schema") in answer.json()["message"]


@pytest.mark.parametrize("path", ["/api/none", "/v1/models", "/access/none", "/nothing/here"])
def test_a_browser_at_an_unknown_address_gets_the_page_that_leads_back(
    client: Client, settings: Any, tmp_path: Path, path: str
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>")
    settings.FRONTEND_DIST = tmp_path
    answer = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer.content) == (404, b"<!doctype html>")


def test_a_slash_too_many_leads_to_the_page(client: Client) -> None:
    answer = client.get("/access/teams/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Location"]) == (301, "/access/teams")


@pytest.mark.parametrize("path", ["/", "/api/none", "/admin/login/", "/nothing/here"])
def test_every_answer_says_that_nothing_but_ours_may_run_in_it(client: Client, path: str) -> None:
    policy = client.get(path).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe" not in policy


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["", "login/", "gpus/gpu/", "models_app/deployment/", "models_app/deployment/add/"])
def test_no_page_of_the_admin_needs_what_the_policy_refuses(client: Client, path: str) -> None:
    if path != "login/":
        client.force_login(factories.user(is_staff=True, is_superuser=True))
    factories.replica()
    page = client.get(f"/admin/{path}").content.decode()
    assert "</html>" in page
    assert not re.search(r"""<style|\sstyle=|\son[a-z]+=|<script(?![^>]*(\ssrc=|type="application/json"))""", page)
