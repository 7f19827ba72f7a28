"""This Django app holds the traffic: the gateway, keys and teams of callers, and what calls used."""

import logging
from functools import partial
from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_delete
from redis import RedisError

from gateway.capture import ring
from models_app.traffic import names

logger = logging.getLogger(__name__)


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """What belongs to a deployment outside the database goes with its row, and an alias is no deployment's name."""
        names.given_elsewhere.append(self._leads_somewhere)
        post_delete.connect(_deployment_gone, sender="models_app.Deployment")

    def _leads_somewhere(self, name: str) -> bool:
        """Whether it is the name of an alias that still has a member."""
        return bool(self.get_model("AliasTarget")._default_manager.filter(alias__name=name).exists())


def _deployment_gone(instance: Any, **_: Any) -> None:
    transaction.on_commit(partial(_clear, instance.pk))


def _clear(deployment_id: int) -> None:
    try:
        ring.clear(deployment_id)
    except (RedisError, OSError) as error:
        logger.warning("captured calls stay until they expire: deployment=%d error=%s", deployment_id, error)
