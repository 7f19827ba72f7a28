"""What is in force is written of many at once: each has its own entry and its own event, and none waits for another."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection, transaction

from models_app.lifecycle import verbs
from models_app.models import Deployment, Transition
from models_app.policy.windows.plan import NOTHING
from models_app.policy.windows.writing import AT_ONCE, Change, write
from sardeenz import events
from tests import factories
from tests.models_app.policy.windows.clockwork import MONDAY, asks, at, window
from tests.patience import until

OPEN = MONDAY.replace(hour=10)


@pytest.fixture
def page() -> Iterator[redis.client.PubSub]:
    """A page that hears what changes."""
    with redis.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as words:
        words.subscribe(f"{settings.CHANNEL_LAYERS['default']['CONFIG']['prefix']}__group__{events.LIFECYCLE}")
        assert words.get_message(timeout=10) is not None
        yield words


def heard(page: redis.client.PubSub, count: int) -> dict[int, int]:
    """The `seq` of the row in each of the next events, by deployment."""
    payloads = []
    for _ in range(count):
        message = page.get_message(ignore_subscribe_messages=True, timeout=10)
        assert message is not None
        payloads.append(get_channel_layer().deserialize(message["data"])["payload"])
    return {each["id"]: each["row"]["seq"] for each in payloads if each["kind"] == "deployment"}


def governed_by(*rows: Deployment) -> None:
    """A window that says something of each."""
    day = window()
    for row in rows:
        asks(day, row, priority=row.pk)


@pytest.mark.django_db(transaction=True)
def test_each_of_many_has_its_entry_and_its_event(page: redis.client.PubSub) -> None:
    rows = [factories.deployment() for _ in range(AT_ONCE + 5)]
    governed_by(*rows)
    at(OPEN)
    written = {row.pk: row for row in Deployment.objects.all()}
    assert [written[row.pk].in_force.priority for row in rows] == [row.pk for row in rows]
    assert {row.pk: written[row.pk].seq for row in rows} == {row.pk: row.seq + 1 for row in rows}
    assert heard(page, len(rows)) == {row.pk: row.seq + 1 for row in rows}
    told = Transition.objects.values_list("deployment_name", "message", "actor")
    assert sorted(told) == sorted((row.name, f"priority: {row.pk} (window day)", "policy:day") for row in rows)


@pytest.mark.django_db
def test_what_follows_is_asked_for_once(django_capture_on_commit_callbacks: Any) -> None:
    def callbacks(count: int) -> int:
        rows = [factories.deployment() for _ in range(count)]
        with django_capture_on_commit_callbacks() as found:
            write({row.pk: Change(row.name, NOTHING, ceiling=1) for row in rows})
        return len(found)

    assert callbacks(AT_ONCE) == callbacks(1)


@pytest.mark.django_db
def test_one_that_is_gone_keeps_nobody_from_what_is_in_force() -> None:
    rows = [factories.deployment() for _ in range(3)]
    changes = {row.pk: Change(row.name, NOTHING, ceiling=7) for row in rows}
    rows[1].delete()
    assert sorted(write(changes)) == [rows[0].pk, rows[2].pk]
    assert [row.governed for row in Deployment.objects.order_by("pk")] == 2 * [{"fields": {}, "ceiling_bytes": 7}]
    assert not Transition.objects.exists(), "no setting acts that did not act before"


@pytest.mark.django_db
def test_one_that_cannot_be_written_keeps_nobody_from_what_is_in_force() -> None:
    rows = [factories.deployment() for _ in range(3)]
    Deployment.objects.filter(pk=rows[1].pk).update(seq=2**63 - 1)
    written = write({row.pk: Change(row.name, NOTHING, ceiling=7) for row in rows})
    assert sorted(written) == [rows[0].pk, rows[2].pk]
    assert [bool(row.governed) for row in Deployment.objects.order_by("pk")] == [True, False, True]


@pytest.mark.django_db(transaction=True)
def test_one_that_a_verb_holds_is_waited_for_and_the_others_are_not() -> None:
    rows = [factories.deployment() for _ in range(3)]
    governed_by(*rows)
    release, holds = threading.Event(), threading.Event()

    def verb() -> None:
        with transaction.atomic():
            verbs.lock_deployment(rows[0].pk)
            holds.set()
            release.wait(60)
        connection.close()

    def look() -> None:
        at(OPEN)
        connection.close()

    threads = [threading.Thread(target=verb), threading.Thread(target=look)]
    threads[0].start()
    assert holds.wait(60)
    threads[1].start()
    try:
        others = Deployment.objects.filter(pk__in=[row.pk for row in rows[1:]], governed__fields__has_key="priority")
        until(lambda: others.count() == 2, "those that nobody holds")
        assert not Deployment.objects.get(pk=rows[0].pk).governed
    finally:
        release.set()
        for thread in threads:
            thread.join()
    assert Deployment.objects.get(pk=rows[0].pk).in_force.priority == rows[0].pk
