"""This Django app holds the traffic: the gateway, keys and teams of callers, and what calls used."""

import logging
from functools import partial
from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_delete
from redis import RedisError

from gateway.capture import ring

logger = logging.getLogger(__name__)


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """What belongs to a deployment outside the database goes with its row."""
        post_delete.connect(_deployment_gone, sender="models_app.Deployment")


def _deployment_gone(instance: Any, **_: Any) -> None:
    transaction.on_commit(partial(_clear, instance.pk))


def _clear(deployment_id: int) -> None:
    try:
        ring.clear(deployment_id)
    except (RedisError, OSError) as error:
        logger.warning("captured calls stay until they expire: deployment=%d error=%s", deployment_id, error)
