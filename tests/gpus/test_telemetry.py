"""A frame says what is on the node's devices now, and is kept for five seconds."""

import json

import pytest
from django.conf import LazySettings

from gpus import devices, kvcached, telemetry
from gpus.errors import TelemetryUnavailable
from gpus.telemetry import Frame
from sardeenz import redis


def collect() -> Frame:
    return telemetry.collect(devices.read_all(), {})


def test_a_frame_holds_the_node_its_devices_and_segments(settings: LazySettings) -> None:
    kvcached.create(settings.SEGMENT_DIR, "srdz_frame", 100)
    frame = collect()
    kvcached.sweep(settings.SEGMENT_DIR, "srdz_frame")
    assert (frame["node"], frame["simulated"]) == (settings.NODE, True)
    assert [gpu["index"] for gpu in frame["gpus"]] == [0, 1]
    segment = {"ipc_name": "srdz_frame", "limit_bytes": 100, "used_bytes": 0, "prealloc_bytes": 0}
    assert segment in frame["segments"]
    assert frame["host"]["memory_total_bytes"] > 0
    assert json.loads(json.dumps(frame)) == frame


def test_the_newest_frame_of_each_node_is_kept_for_five_seconds() -> None:
    frame = collect()
    for node, seq in (("b", 1), ("a", 2), ("b", 3)):
        telemetry.publish({**frame, "node": node, "seq": seq})
    assert [(kept["node"], kept["seq"]) for kept in telemetry.latest()] == [("a", 2), ("b", 3)]
    assert 0 < redis.client().ttl(redis.key("telemetry", "latest", "a")) <= 5
    redis.client().delete(redis.key("telemetry", "latest", "a"))
    assert [kept["node"] for kept in telemetry.latest()] == ["b"]


def test_without_redis_publishing_goes_on_and_reading_is_a_503(settings: LazySettings) -> None:
    frame = collect()
    settings.REDIS_URL = "redis://127.0.0.1:1"
    redis.client.cache_clear()
    try:
        telemetry.publish(frame)
        with pytest.raises(TelemetryUnavailable) as caught:
            telemetry.latest()
        assert caught.value.status == 503
    finally:
        redis.client.cache_clear()
