"""What somebody new comes for, and how many clicks away it is: five things, at most five clicks each.

A click is a click or a choice in a list; what is typed is not counted.
"""

import re
import subprocess
import sys
from dataclasses import dataclass

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import patient
from tests.e2e.test_browser import page, sign_in
from tests.e2e.test_supervised import ROOT, Up, key_in, up

__all__ = ["page", "patient", "up"]
pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.usefixtures("patient")]

MOST_CLICKS = 5


YESTERDAY = """
from datetime import timedelta
from django.utils import timezone
from gateway.models import ApiKey, UsageHour
noon = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
for name, tokens in (("light", 400), ("heavy", 90_000)):
    key = ApiKey.objects.create(name=name, digest=name * 8, prefix=name)
    UsageHour.objects.create(hour=noon, key=key, served_name="chat", calls=9, completion_tokens=tokens)
"""
"""What two keys used on the day before, as the gateway writes it down."""


@dataclass
class Clicks:
    """Those of one task, counted."""

    task: str
    made: int = 0

    def on(self, what: Locator) -> None:
        """One click."""
        what.click()
        self.made += 1

    def choose(self, what: Locator, option: str) -> None:
        """One choice in a list."""
        what.select_option(option)
        self.made += 1

    def end(self) -> None:
        """They were few enough; `pytest -s` prints how many."""
        print(f"{self.task}: {self.made} clicks")
        assert self.made <= MOST_CLICKS, self


def ask(up: Up, model: str) -> None:
    """One short call, answered."""
    url = f"http://127.0.0.1:{up.ports['SARDEENZ_GATEWAY_PORT']}/v1/completions"
    headers = {"Authorization": f"Bearer {key_in(up.said)}"}
    body = {"model": model, "prompt": "Hello", "max_tokens": 2}
    assert httpx2.post(url, json=body, headers=headers, timeout=60, trust_env=False).status_code == 200


def find_why_a_call_waited(page: Page) -> None:
    clicks = Clicks("find why a call waited")
    clicks.on(page.get_by_role("link", name="Usage"))
    latest = page.get_by_role("region", name="Latest calls")
    clicks.on(latest.get_by_role("button", name="Why").first)
    why = page.get_by_role("dialog")
    expect(why).to_contain_text(re.compile("asleep|wake|woke"))
    clicks.end()
    why.get_by_role("button", name="Close").last.click()


def see_who_used_most_tokens_yesterday(page: Page) -> None:
    clicks = Clicks("see who used most tokens yesterday")
    clicks.on(page.get_by_role("link", name="Usage"))
    clicks.on(page.get_by_text("Yesterday", exact=True))
    clicks.on(page.get_by_text("Key", exact=True).first)
    most = page.get_by_role("region", name="Sums by key").locator("tbody tr").first
    expect(most).to_contain_text("heavy")
    expect(most).to_contain_text("90k")
    expect(page).to_have_url(re.compile("span=yesterday&by=key"))
    clicks.end()


def make_nights_belong_to_the_batch_model(page: Page) -> None:
    clicks = Clicks("make nights belong to the batch model")
    clicks.on(page.get_by_role("link", name="Policies"))
    clicks.on(page.get_by_role("button", name="New window"))
    form = page.get_by_role("dialog", name="New window")
    form.get_by_label("Name").fill("late")
    form.get_by_label("At", exact=True).fill("22:00")
    form.get_by_label("For", exact=True).fill("8 h")
    form.get_by_label("Precedence").fill("50")
    clicks.choose(form.get_by_label("Of whom"), "deployment:summariser")
    form.get_by_label("KV weight").fill("8")
    form.get_by_label("Priority").fill("9")
    expect(form.get_by_role("region", name="When it opens").get_by_role("row")).to_have_count(1 + 5)
    clicks.on(form.get_by_role("button", name="Save"))
    expect(page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="late"))).to_be_visible()
    clicks.end()


def deploy_a_model_that_does_not_fit(page: Page) -> None:
    clicks = Clicks("deploy a model that does not fit")
    page.get_by_role("link", name="Fleet", exact=True).click()
    clicks.on(page.get_by_role("button", name="Deploy a model"))
    form = page.get_by_role("dialog", name="Deploy a model")
    clicks.choose(form.get_by_label("Model", exact=True), "new")
    form.get_by_label("Source").fill("org/whale")
    form.get_by_label("Source").press("Tab")
    form.get_by_label("Weights").fill("60 GiB")
    expect(form.get_by_role("status").filter(has_text="60 GiB")).to_be_visible()
    clicks.on(form.get_by_role("checkbox", name=re.compile("^Make room")))
    clicks.on(form.get_by_role("button", name="Deploy", exact=True))
    expect(page).to_have_url(re.compile("/deployments/whale$"))
    expect(page.get_by_role("table", name="Replicas").locator("tbody tr").first).to_contain_text("Ready")
    clicks.end()


def free_a_gpu_before_maintenance(page: Page) -> None:
    clicks = Clicks("free a GPU before maintenance")
    clicks.on(page.get_by_role("link", name="Nodes & GPUs"))
    clicks.on(page.get_by_role("button", name="Drain GPU 1"))
    dialog = page.get_by_role("dialog", name="Drain GPU 1?")
    expect(dialog.get_by_role("listitem").filter(has_text="code").first).to_be_visible()
    clicks.on(dialog.get_by_label("Stop what no other GPU takes"))
    clicks.on(dialog.get_by_role("button", name="Drain", exact=True))
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("article", name="GPU 1").get_by_role("rowheader")).to_have_count(0)
    clicks.end()


def test_five_things_are_five_clicks_away(page: Page, up: Up) -> None:
    up.cli("sleep", "chat", "--wait")
    ask(up, "chat")
    subprocess.run([sys.executable, "manage.py", "shell", "-c", YESTERDAY], cwd=ROOT, env=up.environment, check=True)
    sign_in(page, up)
    find_why_a_call_waited(page)
    see_who_used_most_tokens_yesterday(page)
    make_nights_belong_to_the_batch_model(page)
    free_a_gpu_before_maintenance(page)
    deploy_a_model_that_does_not_fit(page)
