"""/ws/telemetry: subscribe, accept, snapshot, forward."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from gpus import telemetry
from models_app.node import frame as node_frame
from models_app.routing import websocket_urlpatterns
from sardeenz import events


def visitor(*, signed_in: bool) -> WebsocketCommunicator:
    visit = WebsocketCommunicator(URLRouter(websocket_urlpatterns), "/ws/telemetry")
    visit.scope["user"] = SimpleNamespace(is_authenticated=signed_in)
    return visit


@pytest.fixture(autouse=True)
async def _closed_layer() -> AsyncIterator[None]:
    yield
    await get_channel_layer().flush()


async def test_a_stranger_is_turned_away() -> None:
    visit = visitor(signed_in=False)
    connected, _ = await visit.connect()
    assert not connected


async def test_a_page_begins_with_the_latest_frames_and_is_sent_each_new_one() -> None:
    frame = await sync_to_async(node_frame.collect)()
    await sync_to_async(telemetry.publish)(frame)
    visit = visitor(signed_in=True)
    connected, _ = await visit.connect(timeout=20)
    assert connected
    assert await visit.receive_json_from(timeout=20) == {"type": "snapshot", "frames": [frame]}
    newer = {**frame, "seq": frame["seq"] + 1}
    await sync_to_async(telemetry.publish)(newer)
    assert await visit.receive_json_from(timeout=20) == {"type": "frame", "frame": newer}
    await visit.disconnect()


async def test_what_is_announced_in_another_group_is_not_forwarded() -> None:
    visit = visitor(signed_in=True)
    await visit.connect(timeout=20)
    assert await visit.receive_json_from(timeout=20) == {"type": "snapshot", "frames": []}
    await sync_to_async(events.publish)(events.LIFECYCLE, {"kind": "gpu"})
    await sync_to_async(events.publish)(events.TELEMETRY, {"seq": 1})
    assert (await visit.receive_json_from(timeout=20))["frame"] == {"seq": 1}
    await visit.disconnect()
