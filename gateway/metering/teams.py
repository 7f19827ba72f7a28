"""Teams end here: what they used stays, as nobody's."""

from django.db import transaction
from django.db.models import F

from gateway.errors import TeamInUse
from gateway.metering.usage_fields import SUMS
from gateway.models import Team, UsageHour


@transaction.atomic
def delete(team: Team) -> None:
    """Forget a team. Raises TeamInUse while a key that is not revoked belongs to it: that key would lose its limits."""
    Team.objects.select_for_update().get(pk=team.pk)
    if names := sorted(team.keys.filter(revoked_at=None).values_list("name", flat=True)):
        raise TeamInUse(f"keys belong to {team}: {', '.join(names)}; revoke them or give them another team", keys=names)
    team.keys.update(team=None)
    for hour in team.hours.all():
        _give_away(hour)
    team.delete()


def _give_away(hour: UsageHour) -> None:
    """Where the same key already used the same model without a team, one row takes both."""
    others = UsageHour.objects.filter(hour=hour.hour, key=hour.key_id, team=None, served_name=hour.served_name)
    if others.update(**{field: F(field) + getattr(hour, field) for field in SUMS}):
        hour.delete()
