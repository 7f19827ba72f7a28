"""What gateways read every second: good keys with their limits, and aliases in their order, in few queries."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway.access import keys, rows
from gateway.limits.limiter import KnownTeam, Quota
from gateway.models import Alias, AliasTarget, Team
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_key_comes_with_its_limits_and_its_teams(django_assert_num_queries: Any) -> None:
    team = Team.objects.create(name="blue", weight=3, priority=-1, tokens_per_minute=50, gpu_seconds_per_month=2.5)
    key, _ = factories.api_key("inference")
    type(key).objects.filter(pk=key.pk).update(
        team=team, allowed_models=["chat"], requests_per_minute=7, tokens_per_day=9
    )
    with django_assert_num_queries(2):
        [known] = rows.load_keys()
    assert (known.digest, known.id, known.inference, known.expires_at) == (key.digest, key.pk, True, None)
    assert known.allowed_models == frozenset({"chat"})
    assert known.quota == Quota(requests_per_minute=7, tokens_per_day=9)
    assert known.team == KnownTeam(team.pk, "blue", 3, -1, Quota(tokens_per_minute=50, gpu_seconds_per_month=2.5))


def test_a_key_of_no_team_and_without_limits_has_none() -> None:
    factories.api_key("read")
    [known] = rows.load_keys()
    assert (known.inference, known.team, known.quota, known.allowed_models) == (False, None, Quota(), frozenset())


def test_only_keys_that_are_good_now_are_read() -> None:
    soon = timezone.now() + timedelta(hours=1)
    good, _ = factories.api_key(expires_at=soon)
    factories.api_key(expires_at=timezone.now())
    keys.revoke(factories.api_key()[0])
    assert [(known.id, known.expires_at) for known in rows.load_keys()] == [(good.pk, soon.timestamp())]


def test_the_targets_of_an_alias_keep_their_order(django_assert_num_queries: Any) -> None:
    first, second = factories.deployment(), factories.deployment()
    for name, targets in (("b", ((first, 1),)), ("a", ((second, 90), (first, 0)))):
        alias = Alias.objects.create(name=name)
        for place, (deployment, weight) in reversed(list(enumerate(targets))):
            AliasTarget.objects.create(alias=alias, deployment=deployment, weight=weight, place=place)
    with django_assert_num_queries(1):
        found = rows.load_aliases()
    assert found == [("a", ((second.pk, 90), (first.pk, 0))), ("b", ((first.pk, 1),))]


def test_an_alias_whose_last_target_is_gone_is_no_name_any_more() -> None:
    deployment = factories.deployment()
    AliasTarget.objects.create(alias=Alias.objects.create(name="a"), deployment=deployment)
    deployment.delete()
    assert rows.load_aliases() == []
