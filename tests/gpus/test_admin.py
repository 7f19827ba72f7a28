"""The admin shows the machine and lets an operator turn two knobs."""

import pytest
from django.test import Client
from django.urls import reverse

from gpus.models import GPU
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def superuser(client: Client) -> Client:
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    return client


def change(client: Client, gpu: GPU, **fields: object) -> int:
    return client.post(reverse("admin:gpus_gpu_change", args=[gpu.pk]), fields).status_code


def test_lists_and_pages_open(superuser: Client) -> None:
    gpu = factories.gpu()
    assert superuser.get(reverse("admin:gpus_node_changelist")).status_code == 200
    assert superuser.get(reverse("admin:gpus_node_change", args=[gpu.node_id])).status_code == 200
    assert gpu.uuid in superuser.get(reverse("admin:gpus_gpu_changelist")).content.decode()
    assert superuser.get(reverse("admin:gpus_gpu_add")).status_code == 403


def test_only_the_knobs_are_written(superuser: Client) -> None:
    gpu = factories.gpu()
    assert change(superuser, gpu, headroom_bytes=5, memory_bytes=1) == 302
    gpu.refresh_from_db()
    assert (gpu.enabled, gpu.headroom_bytes, gpu.memory_bytes, gpu.seq) == (False, 5, 80 << 30, 3)


def test_the_admin_refuses_a_headroom_that_cannot_be(superuser: Client) -> None:
    gpu = factories.gpu()
    assert change(superuser, gpu, enabled="on", headroom_bytes=(80 << 30) + 1) == 200
    gpu.refresh_from_db()
    assert gpu.headroom_bytes == 1 << 30
