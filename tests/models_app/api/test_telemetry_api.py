"""GET /api/telemetry: the newest frames, for who is signed in."""

import pytest
from django.test import Client

from gpus import telemetry
from models_app.node import frame as node_frame
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.urls("models_app.urls")]


def test_nobody_unknown_looks(client: Client) -> None:
    assert client.get("/telemetry").status_code == 401


def test_the_latest_frames_are_served(client: Client) -> None:
    client.force_login(factories.user(is_staff=True))
    assert client.get("/telemetry").json() == []
    frame = node_frame.collect()
    telemetry.publish(frame)
    assert client.get("/telemetry").json() == [frame]
