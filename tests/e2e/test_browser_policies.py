"""Policies as a person makes them in the dashboard: a window, what it does now and later, an override and its end."""

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


def write_window(page: Page) -> Locator:
    """A window that is always open, written by keyboard, its zone at first one that does not exist."""
    page.get_by_role("button", name=re.compile("New window|Make the first window")).press("Enter")
    form = page.get_by_role("dialog", name="New window")
    form.get_by_label("Name").fill("always")
    form.get_by_text("By a cron expression").click()
    form.get_by_role("textbox", name="Cron expression").fill("0 * * * *")
    form.get_by_label("For", exact=True).fill("2 h")
    form.get_by_label("By the clock of").fill("Europe/Berln")
    expect(form.get_by_label("By the clock of")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_role("region", name="When it opens")).to_contain_text("there is no time zone 'Europe/Berln'")
    form.get_by_label("By the clock of").fill("Europe/Berlin")
    expect(form.get_by_role("region", name="When it opens").get_by_role("row")).to_have_count(1 + 5)
    form.get_by_label("Precedence").fill("5")
    form.get_by_label("Of whom").select_option("deployment:chat")
    form.get_by_label("Priority").fill("7")
    return form


def look_as_viewer(page: Page, up: Up) -> None:
    """Somebody who may only look sees the same, and why each control is off."""
    subprocess.run([sys.executable, "manage.py", "shell", "-c", VIEWER], cwd=ROOT, env=up.environment, check=True)
    up.cli("windows", "add", "night", "--cron", "0 20 * * *", "--for", "11h", "--set", "code:priority=5")
    page.context.clear_cookies()
    page.goto(f"http://127.0.0.1:{up.ports['SARDEENZ_WEB_PORT']}/policies")
    page.get_by_label("User name").fill("vera")
    page.get_by_label("Password").fill("pw")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("What is said of code")).to_contain_text("window night")
    new = page.get_by_role("button", name="New window")
    expect(new).to_be_disabled()
    expect(new).to_have_attribute("title", "this needs a staff account")
    expect(page.get_by_role("button", name="Edit the idle times of code")).to_be_disabled()
    page.get_by_role("button", name="What window night can do").click()
    pause = page.get_by_role("menuitem", name="Pause")
    expect(pause).to_have_attribute("aria-disabled", "true")
    expect(pause).to_contain_text("this needs a staff account")
    page.get_by_role("menuitem", name="Show…").click()
    shown = page.get_by_role("dialog", name="Window night")
    expect(shown.get_by_role("textbox", name="Cron expression")).to_be_disabled()
    expect(shown.get_by_role("button", name="Save")).to_be_disabled()
    shown.get_by_role("button", name="Close").last.click()
    accessible(page)


def look_at_history(page: Page) -> None:
    """What the first GPU did: drawn, and in words for who does not see it."""
    page.get_by_role("button", name="History").first.click()
    history = page.get_by_role("dialog", name=re.compile("GPU 0: history"))
    memory = history.get_by_role("img", name=re.compile("^Memory in use: [0-9.]+ GiB on average, [0-9.]+ GiB at most"))
    expect(memory.locator("canvas")).to_be_visible()
    history.get_by_text("1 day").click()
    expect(memory).to_be_visible()
    accessible(page)
    history.get_by_role("button", name="Close").last.click()
    expect(history).to_have_count(0)


def test_a_window_is_made_overridden_and_deleted_and_a_viewer_changes_nothing(page: Page, up: Up) -> None:
    sign_in(page, up)
    page.get_by_role("link", name="Policies").click()
    write_window(page)
    accessible(page)
    page.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=re.compile("always")))
    expect(row).to_contain_text("open")
    now = page.get_by_role("region", name="In force now")
    expect(now.get_by_label("What governs chat")).to_contain_text("priority 7 (window always)")
    expect(page.get_by_label("What is said of chat")).to_contain_text("window always")

    def governed() -> bool:
        found = {one["name"]: one for one in up.get("deployments")["results"]}["chat"]
        return bool(found["in_force"].get("priority", {}).get("value") == 7)

    until(governed, "the window in force", 30)
    slider = page.get_by_label("At another time")
    slider.press("Home")  # in the last quarter of a week the end is where it stands
    slider.press("End")
    expect(page.get_by_role("region", name=re.compile("Would be in force Sun .*23:45"))).to_be_visible()
    assert "at=" in page.url
    page.reload()
    expect(page.get_by_role("region", name=re.compile("Would be in force Sun .*23:45"))).to_be_visible()
    page.get_by_role("button", name="Back to now").click()
    expect(now).to_be_visible()

    page.get_by_role("link", name="Fleet", exact=True).click()
    expect(page.get_by_text("window always").first).to_be_visible()
    look_at_history(page)
    page.get_by_role("link", name="Policies").click()
    up.cli("deploy", "chat", "--priority", "9")
    over = page.get_by_role("button", name="End the override of chat now")
    expect(over).to_be_visible()
    expect(now.get_by_label("What governs chat")).to_contain_text("priority 9 (override by")
    accessible(page)
    never_sideways(page)
    over.click()
    expect(over).to_have_count(0)
    expect(now.get_by_label("What governs chat")).to_contain_text("priority 7 (window always)")
    row.get_by_role("button", name="What window always can do").click()
    page.get_by_role("menuitem", name="Delete…").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(row).to_have_count(0)
    assert "always" not in [one["name"] for one in up.get("windows")["results"]]
    look_as_viewer(page, up)
