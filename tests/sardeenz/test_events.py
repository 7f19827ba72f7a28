"""What is announced reaches Redis over one connection, and over a new one where that was lost."""

import os
from collections.abc import Iterator

import pytest
import redis
from channels.layers import get_channel_layer
from django.conf import settings

from sardeenz import events


@pytest.fixture
def listener() -> Iterator[redis.client.PubSub]:
    """A page, as far as Redis knows one."""
    with redis.Redis.from_url(settings.REDIS_URL) as connection, connection.pubsub() as words:
        words.subscribe(f"{settings.CHANNEL_LAYERS['default']['CONFIG']['prefix']}__group__{events.LIFECYCLE}")
        assert words.get_message(timeout=10) is not None
        yield words


def heard(listener: redis.client.PubSub) -> object:
    message = listener.get_message(ignore_subscribe_messages=True, timeout=10)
    assert message is not None
    return get_channel_layer().deserialize(message["data"])["payload"]


def connections() -> int:
    """How many were ever made."""
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        return int(connection.info("stats")["total_connections_received"])


def test_many_events_need_no_new_connection(listener: redis.client.PubSub) -> None:
    events.publish(events.LIFECYCLE, {"id": 0})
    before = connections()
    for number in range(1, 6):
        events.publish(events.LIFECYCLE, {"id": number})
    assert connections() == before + 1, "only the one that counts them"
    assert [heard(listener) for _ in range(6)] == [{"id": number} for number in range(6)]


def test_a_lost_connection_costs_no_event(listener: redis.client.PubSub) -> None:
    events.publish(events.LIFECYCLE, {"id": 1})
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.client_kill_filter(_type="normal", skipme=True)
    events.publish(events.LIFECYCLE, {"id": 2})
    assert [heard(listener), heard(listener)] == [{"id": 1}, {"id": 2}]


def test_a_forked_process_publishes_too(listener: redis.client.PubSub) -> None:
    events.publish(events.LIFECYCLE, {"id": 1})
    pid = os.fork()
    if not pid:
        events.publish(events.LIFECYCLE, {"id": 2})
        os._exit(0)
    os.waitpid(pid, 0)
    assert [heard(listener), heard(listener)] == [{"id": 1}, {"id": 2}]


def test_a_redis_that_does_not_answer_holds_nobody_up(
    listener: redis.client.PubSub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events.publish(events.LIFECYCLE, {"id": 1})
    monkeypatch.setattr(events, "PUBLISH_SECONDS", 0.1)
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.client_pause(1000)
        events.publish(events.LIFECYCLE, {"id": 2})
        connection.client_unpause()
    assert "event not published: group=lifecycle" in caplog.text
