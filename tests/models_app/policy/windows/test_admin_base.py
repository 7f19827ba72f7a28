"""The admin's form writes a deployment's own settings, whatever a window makes of them at the moment."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from models_app.models import Deployment, Override
from tests import factories
from tests.models_app.policy.windows.clockwork import MONDAY, asks, at, window

pytestmark = pytest.mark.django_db


def test_the_form_shows_and_writes_the_base(client: Client) -> None:
    client.force_login(factories.user("root", is_staff=True, is_superuser=True))
    chat = factories.deployment(priority=1)
    asks(window(), chat, priority=5)
    at(MONDAY + timedelta(hours=10))
    address = reverse("admin:models_app_deployment_change", args=[chat.pk])
    page = client.get(address).context
    form = page["adminform"].form
    assert form.initial["priority"] == 1
    shown = {name: form[name].value() for name in form.fields}
    given = {name: value for name, value in shown.items() if value is not None and value is not False}
    for inline in page["inline_admin_formsets"]:
        for hidden in inline.formset.management_form:
            given[hidden.html_name] = hidden.value()
    answer = client.post(address, given | {"priority": "3"})
    assert answer.status_code == 302, answer.context["errors"]
    row = Deployment.objects.get(pk=chat.pk)
    assert (row.priority, row.in_force.priority) == (3, 5)
    assert not Override.objects.exists()
