"""Windows and overrides on the command line, against the real API over HTTP."""

from typing import Any

import pytest
from django.utils import timezone
from typer.testing import CliRunner

from models_app.models import Override, Window
from models_app.policy.windows.apply import Applier
from sardeenz.cli.main import app
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
WORK = ("windows", "add", "work", "--days", "mon-fri", "--at", "09:00", "--for", "9h", "--zone", "Europe/Berlin")


@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SARDEENZ_URL", live_server.url)
    monkeypatch.setenv("SARDEENZ_TOKEN", factories.api_key("read", "manage")[1])
    factories.deployment(name="chat", labels={"team": "dev"})

    def invoke(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, done.output
        return str(done.output)

    return invoke


def test_a_window_is_added_shown_changed_paused_and_deleted(run: Any) -> None:
    added = run(*WORK, "--set", "chat:priority=5,kv-floor=2GiB,level=asleep-1", "--set", "team=dev:kv-weight=7")
    assert "work: mon,tue,wed,thu,fri 09:00 Europe/Berlin for 9 h, precedence 0" in added
    assert "chat: level asleep-1, kv-floor 2 GiB, priority 5" in added
    assert "team=dev: kv-weight 7" in added
    _, _, openings = added.partition("in UTC")
    assert openings.count("09:00 CE") == 5
    run("windows", "edit", "work", "--for", "10h", "--set", "chat:priority=9", "--without", "team=dev")
    shown = run("windows", "show", "work")
    assert ("for 10 h" in shown, "chat: priority 9" in shown, "team=dev" in shown) == (True, True, False)
    run("windows", "pause", "work")
    assert "paused" in run("windows", "list")
    run("windows", "resume", "work")
    run("windows", "edit", "work", "--cron", "0 20 * * *")
    assert Window.objects.get().weekdays == []
    run("windows", "delete", "work")
    assert "there is no window" in run("windows", "list")


def test_a_dry_run_saves_nothing_and_says_what_would_act(run: Any) -> None:
    said = run(*WORK, "--set", "chat:priority=5", "--dry-run")
    assert "Nothing was saved" in said
    assert "chat: priority: 5 (window work)." in said
    assert not Window.objects.exists()
    run("windows", "add", "always", "--cron", "0 * * * *", "--for", "2h", "--set", "chat:priority=5")
    for verb, end in ((("pause",), ()), (("delete",), ()), (("edit",), ("--set", "chat:priority=7"))):
        said = run("windows", *verb, "always", *end, "--dry-run")
        assert ("priority: 7" in said, "Nothing was done." in said) == (verb == ("edit",), True)
    window = Window.objects.get()
    assert (window.paused, window.states.get().priority) == (False, 5)
    said = run("plans", "at", "2031-01-31 22:10")
    assert "At 2031-01-31 22:10:00 UTC, if the fleet stood as it does now:" in said
    assert "chat: priority: 5 (window always)." in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--days", "someday", "--at", "09:00", "--for", "9h"), "'someday' is no day"),
        (("--cron", "0 9 * * * *", "--for", "9h"), "a cron expression has five fields"),
        (
            (
                "--cron",
                "0 9 * * *",
            ),
            "say with --for how long it stays open",
        ),
        (("--cron", "0 9 * * *", "--for", "9h", "--set", "chat:colour=red"), "'colour=red' is no setting of a window"),
        (("--cron", "0 9 * * *", "--for", "9h", "--set", "chat:kv-floor=much"), "kv-floor"),
        (("--cron", "0 9 * * *", "--for", "9h", "--zone", "Europe/Berln"), "there is no time zone 'Europe/Berln'"),
    ],
)
def test_what_is_wrong_is_said_in_words(run: Any, words: tuple[str, ...], says: str) -> None:
    assert says in run("windows", "add", "work", *words, code=1)
    assert not Window.objects.exists()


def test_an_override_is_listed_and_ended(run: Any) -> None:
    run("windows", "add", "always", "--cron", "* * * * *", "--for", "2h", "--set", "chat:priority=5")
    Applier().run(timezone.now())
    assert "no override holds" in run("overrides", "list")
    factories.gpu()
    run("deploy", "chat", "--priority", "9")
    assert "priority 9" in run("overrides", "list")
    assert "windows decide again" in run("overrides", "end", "chat")
    assert not Override.objects.filter(until__gt=timezone.now()).exists()
    assert "no override 'chat' holds" in run("overrides", "end", "chat", code=1)
