"""This Django app holds the traffic: the gateway, keys and teams of callers, and what calls used."""

import logging
from datetime import timedelta
from functools import partial
from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models import Min, Sum
from django.db.models.signals import post_delete
from django.utils import timezone
from redis import RedisError

from gateway.capture import ring
from models_app.traffic import names, rates

logger = logging.getLogger(__name__)


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """What belongs to a deployment outside the database goes with its row, and an alias is no deployment's name."""
        names.given_elsewhere.append(self._leads_somewhere)
        rates.counted_elsewhere.append(self._calls_per_second)
        post_delete.connect(_deployment_gone, sender="models_app.Deployment")

    def _leads_somewhere(self, name: str) -> bool:
        """Whether it is the name of an alias that still has a member."""
        return bool(self.get_model("AliasTarget")._default_manager.filter(alias__name=name).exists())

    def _calls_per_second(self) -> dict[str, float]:
        """Calls by served name in the hours that began within the last day."""
        now = timezone.now()
        hours = self.get_model("UsageHour")._default_manager.filter(hour__gt=now - timedelta(days=1)).order_by()
        counted = hours.values("served_name").annotate(total=Sum("calls"), since=Min("hour"))
        first = min((row["since"] for row in counted), default=now)
        seconds = max((now - first).total_seconds(), 1.0)
        return {row["served_name"]: row["total"] / seconds for row in counted}


def _deployment_gone(instance: Any, **_: Any) -> None:
    transaction.on_commit(partial(_clear, instance.pk))


def _clear(deployment_id: int) -> None:
    try:
        ring.clear(deployment_id)
    except (RedisError, OSError) as error:
        logger.warning("captured calls stay until they expire: deployment=%d error=%s", deployment_id, error)
