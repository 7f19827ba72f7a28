"""Variables that are written in a way of their own."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from sardeenz import checks, env

NAME = "SARDEENZ_EVICT_WAIT_SECONDS"


def test_seconds_by_priority_are_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "-1:2.5  0:30")
    assert env.seconds_by_priority(NAME, "0:1") == {-1: 2.5, 0: 30.0}


@pytest.mark.parametrize("value", ["30", "0:x", "0:-1", "0:nan", "0:inf", "a:1", "0:1:2", " "])
def test_anything_else_names_the_variable_and_the_fix(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured, match=f"{NAME}=.*use for example"):
        env.seconds_by_priority(NAME, "0:1")


def test_a_setting_under_its_old_name_is_read_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "OUTDATED", {})
    monkeypatch.setenv("SARDEENZ_OLD", "1")
    assert env.renamed("SARDEENZ_NEW", old="SARDEENZ_OLD") == "SARDEENZ_OLD"
    assert [(each.id, each.hint) for each in checks.names(None)] == [("sardeenz.W005", "call it SARDEENZ_NEW")]
    monkeypatch.setattr(env, "OUTDATED", {})
    monkeypatch.setenv("SARDEENZ_NEW", "2")
    assert env.renamed("SARDEENZ_NEW", old="SARDEENZ_OLD") == "SARDEENZ_NEW"
    assert checks.names(None) == []
