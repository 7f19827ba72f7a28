"""Deployments as people keep them in the dashboard: one is deployed, looked into, moved, deleted; one fails to load."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import accessible, never_sideways, patient
from tests.e2e.stack import ROOT
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_supervised import Up, up
from tests.patience import until

__all__ = ["page", "patient", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("patient")]

VIEWER = "from django.contrib.auth.models import User; User.objects.create_user('vera', password='pw')"


def replicas(page: Page) -> Locator:
    """The rows of the replicas on a deployment's page."""
    return page.get_by_role("table", name="Replicas").locator("tbody tr")


def open_form(page: Page, source: str, **fields: str) -> Locator:
    """The form for a new deployment of a model that is new, filled by keyboard."""
    page.get_by_role("button", name="Deploy a model").press("Enter")
    form = page.get_by_role("dialog", name="Deploy a model")
    form.get_by_label("Model", exact=True).select_option("new")
    form.get_by_label("Source").fill(source)
    form.get_by_label("Source").press("Tab")
    for label, text in fields.items():
        form.get_by_label(label).fill(text)
    return form


def deploy(page: Page) -> None:
    """A flag that is Sardeenz's own is refused at its field; without it the load is followed to ready."""
    form = open_form(page, "org/tuna", Weights="8 GiB")
    note = form.get_by_role("status")
    expect(note).to_contain_text("It fits now on")
    expect(form.get_by_role("list", name="Each GPU").get_by_role("listitem")).to_have_count(2)
    form.get_by_text("More options").press("Enter")
    flags = form.get_by_label("Extra arguments")
    flags.fill("--port 1")
    expect(flags).to_have_attribute("aria-invalid", "true")
    expect(form).to_contain_text("--port is reserved")
    flags.fill("")
    expect(note).to_contain_text("It fits now on")
    accessible(page)
    form.get_by_role("button", name="Deploy", exact=True).press("Enter")
    expect(page).to_have_url(re.compile("/deployments/tuna$"))
    expect(replicas(page)).to_contain_text("Ready")


def look_into(page: Page) -> None:
    """Its lanes, command, memory, reasons and snippets, and its log with what a reader does with it."""
    expect(page.get_by_role("img", name=re.compile("^Replica [0-9]+: .*ready"))).to_be_visible()
    expect(page.get_by_role("region", name="Launch command")).to_contain_text("serve org/tuna")
    expect(page.get_by_role("region", name="Memory")).to_contain_text("8 GiB")
    expect(page.get_by_role("region", name="What happened")).to_contain_text("has loaded and is ready")
    expect(page.get_by_label("curl", exact=True).last).to_contain_text('"model":"tuna"')
    page.get_by_text("1 day").click()
    expect(page).to_have_url(re.compile("hours=24"))
    page.get_by_role("button", name=re.compile("^Log of tuna")).click()
    log = page.get_by_role("complementary", name=re.compile("Log of tuna"))
    expect(log.get_by_role("log")).to_contain_text("tuna")
    log.get_by_role("button", name="Pause").click()
    log.get_by_label("How bad").select_option("error")
    expect(log.get_by_role("log")).to_contain_text("No line matches.")
    log.get_by_label("How bad").select_option("plain")
    with page.expect_download() as kept:
        log.get_by_role("button", name="Download").click()
    assert kept.value.suggested_filename.startswith("tuna-")
    log.get_by_role("button", name="Close the log").click()
    accessible(page)
    never_sideways(page)


def confirm(page: Page, action: str) -> None:
    """By keyboard, once what would happen is told."""
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="What would happen")).to_be_visible()
    expect(dialog.get_by_role("listitem").first).to_be_visible()
    button = dialog.get_by_role("button", name=action, exact=True)
    expect(button).to_be_enabled()  # Enter would go to another one
    button.press("Enter")
    expect(dialog).to_have_count(0)


def sleep_wake_move_delete(page: Page) -> None:
    """All by keyboard."""
    page.get_by_role("button", name="Sleep…").press("Enter")
    confirm(page, "Put to sleep")
    expect(replicas(page)).to_contain_text("Sleeping")
    page.get_by_role("button", name="Wake…").press("Enter")
    confirm(page, "Wake")
    expect(replicas(page)).to_contain_text("Ready")
    here = replicas(page).locator("td[data-label=GPU]").inner_text()
    page.get_by_role("button", name=re.compile("^What tuna, replica")).press("Enter")
    page.get_by_role("menuitem", name="Move…").press("Enter")
    dialog = page.get_by_role("dialog", name="Move tuna")
    dialog.locator("input[type=radio]:not(:disabled)").first.press("Space")
    confirm(page, "Move")
    expect(replicas(page)).to_have_count(1)
    expect(replicas(page).locator("td[data-label=GPU]")).not_to_have_text(here)
    page.get_by_role("button", name="Delete…").press("Enter")
    confirm(page, "Delete")
    expect(page.get_by_role("heading", name="There is no deployment tuna")).to_be_visible()


def fail_and_try_again(page: Page) -> None:
    """What fails to load says why; the form still has what was written, and saving it tries again."""
    page.goto(page.url.rpartition("/")[0])
    form = open_form(page, "org/hake", Weights="4 GiB")
    form.get_by_text("More options").click()
    form.get_by_label("Extra arguments").fill("--fail-load arch")
    form.get_by_role("button", name="Deploy", exact=True).click()
    expect(page).to_have_url(re.compile("/deployments/hake$"))
    expect(replicas(page)).to_contain_text("Failed")
    page.get_by_role("button", name="Edit…").click()
    edited = page.get_by_role("dialog", name="Edit hake")
    flags = edited.get_by_label("Extra arguments")
    expect(flags).to_have_value(re.compile("--fail-load"))
    edited.get_by_text("More options").click()
    flags.fill("")
    edited.get_by_role("button", name="Save and try again").click()
    expect(replicas(page)).to_contain_text("Ready")


def settled(up: Up, name: str) -> bool:
    """Whether the deployment has one replica, and that is ready."""
    return [row["state"] for row in up.replicas() if row["deployment_name"] == name] == ["ready"]


def drag(page: Page, up: Up) -> None:
    """A replica put down on another GPU moves there, once somebody has seen what that would do."""
    page.get_by_role("link", name="Fleet", exact=True).click()
    taken = page.get_by_role("rowheader", name=re.compile("^hake"))
    home = page.get_by_role("article").filter(has=taken)
    other = page.get_by_role("article").filter(has_not=taken)
    expect(home).to_have_count(1)  # until it is there, every GPU is another one
    name = other.first.get_attribute("aria-label") or ""
    taken.drag_to(other.first.get_by_role("heading"))
    expect(page.get_by_role("dialog", name="Move hake")).to_be_visible()
    confirm(page, "Move")
    there = page.get_by_role("article", name=name)
    expect(there.get_by_role("rowheader", name=re.compile("^hake"))).to_be_visible()
    until(
        lambda: [row["state"] for row in up.replicas() if row["deployment_name"] == "hake"] == ["ready"], "it moved", 60
    )


def look_at_the_list(page: Page, up: Up) -> None:
    """Its view is in the address, and several are put to sleep together."""
    page.get_by_role("link", name="Deployments").click()
    table = page.get_by_role("table", name="Deployments")
    page.get_by_label("Search").fill("ha")
    expect(page).to_have_url(re.compile(r"\?q=ha$"))
    expect(table.locator("tbody tr")).to_have_count(2)
    page.reload()
    expect(table.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Choose all").click()
    page.get_by_role("group", name="With those chosen").get_by_role("button", name="Sleep…").click()
    confirm(page, "Put to sleep")
    expect(table.get_by_text("Sleeping")).to_have_count(2)
    accessible(page)
    page.get_by_text("Cards", exact=True).click()
    expect(page.get_by_role("list", name="Deployments")).to_contain_text("hake")
    accessible(page)
    never_sideways(page)


def look_as_viewer(page: Page, up: Up) -> None:
    """Somebody who may only look sees the same, and why each control is off."""
    subprocess.run([sys.executable, "manage.py", "shell", "-c", VIEWER], cwd=ROOT, env=up.environment, check=True)
    page.context.clear_cookies()
    page.goto(f"http://127.0.0.1:{up.ports['SARDEENZ_WEB_PORT']}/deployments/chat")
    page.get_by_label("User name").fill("vera")
    page.get_by_label("Password").fill("pw")
    page.get_by_role("button", name="Sign in").click()
    expect(replicas(page)).to_have_count(1)
    for name in ("Sleep…", "Edit…", "Delete…"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
        expect(page.get_by_role("button", name=name)).to_have_attribute("title", "this needs a staff account")
    expect(page.get_by_role("region", name="Launch command")).to_contain_text("serve")


def test_a_deployment_is_made_looked_into_moved_and_deleted(page: Page, up: Up) -> None:
    sign_in(page, up)
    page.get_by_role("link", name="Deployments").click()
    deploy(page)
    look_into(page)
    sleep_wake_move_delete(page)
    fail_and_try_again(page)
    drag(page, up)
    look_at_the_list(page, up)
    look_as_viewer(page, up)
