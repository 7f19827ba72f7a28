"""One failure is told once in ten minutes, with how often it came."""

import io
import logging
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.test import Client

from models_app.errors import NoCapacity
from sardeenz import repeats
from tests import factories


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, Callable[[], str]]]:
    """A logger whose handler is set up as ours are."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.addFilter(repeats.Repeats())
    logger = logging.getLogger("tests.repeats")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield logger, text.getvalue
    logger.removeHandler(handler)


def broken(number: int) -> None:
    raise ValueError(f"row {number}")


def test_a_traceback_is_written_once_whatever_row_it_is_about(
    written: tuple[logging.Logger, Callable[[], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(repeats.time, "monotonic", lambda: now[0])
    logger, text = written
    for number in range(500):
        try:
            broken(number)
        except ValueError:
            logger.exception("step broke: replica=%s", number)
    assert text().count("Traceback") == 1
    now[0] += repeats.AGAIN_SECONDS
    try:
        broken(1)
    except ValueError:
        logger.exception("step broke: replica=%s", 1)
    assert text().count("Traceback") == 2
    assert "499 times more" in text()


def test_another_failure_and_what_is_no_failure_are_always_told(
    written: tuple[logging.Logger, Callable[[], str]],
) -> None:
    logger, text = written
    for number in range(3):
        logger.info("ready")
        logger.warning("poke lost: gpu=%s", number)
        logger.warning("poke lost: gpu=%s", number)
    assert text().count("ready") == 3
    assert text().count("poke lost") == 3


def test_what_is_remembered_is_bounded(written: tuple[logging.Logger, Callable[[], str]]) -> None:
    logger, _ = written
    for number in range(repeats.MOST + 10):
        logger.warning("gpu=%s", number)
    (held,) = logger.handlers[0].filters
    assert isinstance(held, repeats.Repeats)
    assert len(held._told) == repeats.MOST


def test_our_processes_log_through_it() -> None:
    assert settings.LOGGING["handlers"]["console"]["filters"] == ["repeats"]


@pytest.mark.django_db
def test_an_answer_that_says_there_is_no_room_is_no_error_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise NoCapacity("18 GiB are needed")

    client.force_login(factories.user("olive", is_staff=True))
    monkeypatch.setattr("models_app.lifecycle.fleet.deploy", full)
    answer = client.post(f"/api/deployments/{factories.deployment().pk}/deploy", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (503, "no_capacity")
    assert caplog.records == []
