"""Rows of the gateway point down, and nothing below can look back at them."""

from django.apps import apps
from django.db.models import ForeignKey

BELOW = {"models_app", "gpus"}


def test_no_row_below_the_gateway_can_look_back_at_it() -> None:
    down = [
        field
        for model in apps.get_app_config("gateway").get_models()
        for field in model._meta.get_fields()
        if isinstance(field, ForeignKey) and field.related_model._meta.app_label in BELOW
    ]
    assert [str(field) for field in down] == ["gateway.AliasTarget.deployment"]
    assert [str(field) for field in down if not field.remote_field.hidden] == []
