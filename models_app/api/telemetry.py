"""GET /api/telemetry, and /ws/telemetry: a pipe from the telemetry group to a signed-in browser."""

import asyncio
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from drf_spectacular.utils import extend_schema
from redis import RedisError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gpus.errors import TelemetryUnavailable
from models_app.api.serializers import RowSerializer
from models_app.node import frame
from sardeenz import events

TRY_AGAIN_LATER = 1013


class FrameSerializer(RowSerializer):
    """One node at one instant."""

    row = frame.NodeFrame


class TelemetryView(APIView):
    """What every node did within the last seconds."""

    @extend_schema(responses=FrameSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The newest frame of each node."""
        return Response(frame.latest())


class TelemetryConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    """Subscribe, accept, send the latest frames, then forward: `{type: snapshot, frames}`, `{type: frame, frame}`."""

    async def connect(self) -> None:
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close()
            return
        try:
            await self.channel_layer.group_add(events.TELEMETRY, self.channel_name)
            await self.accept()
            frames = await asyncio.to_thread(frame.latest)
        except (RedisError, OSError, TelemetryUnavailable):
            await self.close(TRY_AGAIN_LATER)
            return
        await self.send_json({"type": "snapshot", "frames": frames})

    async def disconnect(self, code: int) -> None:
        try:
            await self.channel_layer.group_discard(events.TELEMETRY, self.channel_name)
        except (RedisError, OSError):
            return  # the subscription died with Redis

    async def telemetry_event(self, event: dict[str, Any]) -> None:
        """Channels calls this with each frame that a node sends to the telemetry group."""
        await self.send_json({"type": "frame", "frame": event["payload"]})
