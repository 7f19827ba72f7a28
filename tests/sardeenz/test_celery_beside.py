"""A queue that a worker reads beside its others: what fails there, or is nobody's, keeps nothing after it waiting."""

from collections.abc import Iterator
from typing import Any

import pytest

from sardeenz.celery import BENCHMARKS_QUEUE, Beside, app


class Message:
    """What kombu hands over, acknowledged or not."""

    def __init__(self, task: str) -> None:
        self.headers = {"task": task}
        self.acknowledged = False

    def ack(self) -> None:
        self.acknowledged = True


@pytest.fixture
def ran() -> Iterator[list[Any]]:
    """What a task of this test was called with; it fails for a word."""
    seen: list[Any] = []

    @app.task(name="tests.count")
    def count(number: Any) -> None:
        seen.append(number)
        seen.append(1 / number)

    yield seen
    app.tasks.unregister("tests.count")


def test_what_fails_and_what_nobody_knows_keeps_nothing_waiting(
    ran: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    beside = Beside(BENCHMARKS_QUEUE)
    messages = [Message("tests.count"), Message("tests.none"), Message("tests.count")]
    for message, number in zip(messages, (0, 1, 2), strict=True):
        beside._take(([number], {}, {}), message)
    assert ran == [0, 2, 0.5]
    assert all(message.acknowledged for message in messages)
    assert [line for line in caplog.messages if line.startswith(("task failed", "unknown task"))] == [
        "task failed: task=tests.count args=[0]",
        "unknown task dropped: task=tests.none queue=benchmarks",
    ]
