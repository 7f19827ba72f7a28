"""These views serve /api/teams, /api/keys and /api/aliases; to delete a key is to revoke the key."""

from django.contrib.auth.models import User
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import viewsets
from rest_framework.serializers import BaseSerializer

from gateway.access import aliases, keys
from gateway.api.serializers import AliasSerializer, KeySerializer, NewKeySerializer, TeamSerializer
from gateway.metering import teams
from gateway.models import Alias, ApiKey, Team, UsageHour, UsageRecord

METHODS = ["get", "post", "patch", "delete", "head", "options"]
NUMBER = r"\d{1,18}"


@extend_schema_view(list=extend_schema(parameters=[OpenApiParameter("name", str)]))
class TeamViewSet(viewsets.ModelViewSet[Team]):
    """People who share limits, and a share of every busy deployment; `?name=` for the one of this name."""

    queryset = Team.objects.annotate(n_keys=Count("keys", filter=Q(keys__revoked_at=None))).order_by("name")
    serializer_class = TeamSerializer
    http_method_names = METHODS
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Team]:
        """All, or the one named."""
        name = self.request.query_params.get("name")
        return super().get_queryset().filter(name=name) if name else super().get_queryset()

    def perform_destroy(self, instance: Team) -> None:
        """Refuse while keys belong to it."""
        teams.delete(instance)


def _last_used() -> Coalesce:
    """When a key's latest call was; of a key whose calls were all pruned, the hour of it."""
    calls = UsageRecord.objects.filter(key=OuterRef("pk")).order_by("-at").values("at")[:1]
    hours = UsageHour.objects.filter(key=OuterRef("pk")).order_by("-hour").values("hour")[:1]
    return Coalesce(Subquery(calls), Subquery(hours))


@extend_schema_view(list=extend_schema(parameters=[OpenApiParameter("team", str, description="an id or a name")]))
class KeyViewSet(viewsets.ModelViewSet[ApiKey]):
    """Keys. A key is made once, shown once, and revoked by DELETE; its row stays, for what it used."""

    queryset = ApiKey.objects.select_related("owner", "team").annotate(last_used_at=_last_used())
    http_method_names = METHODS
    lookup_value_regex = NUMBER

    def get_serializer_class(self) -> type[BaseSerializer[ApiKey]]:
        return NewKeySerializer if self.action == "create" else KeySerializer

    def get_queryset(self) -> QuerySet[ApiKey]:
        """All, or those of one team."""
        keys_shown = super().get_queryset()
        if team := self.request.query_params.get("team"):
            keys_shown = keys_shown.filter(
                Q(team__name=team) | Q(team=int(team)) if team.isdecimal() and len(team) < 19 else Q(team__name=team)
            )
        return keys_shown

    def perform_create(self, serializer: BaseSerializer[ApiKey]) -> None:
        """The person who makes it owns it; a key made by a key has no owner."""
        user = self.request.user
        serializer.save(owner=user if isinstance(user, User) else None)

    def perform_destroy(self, instance: ApiKey) -> None:
        """DELETE revokes the key; the key's row stays, because usage refers to that row."""
        keys.revoke(instance)


@extend_schema_view(list=extend_schema(parameters=[OpenApiParameter("name", str)]))
class AliasViewSet(viewsets.ModelViewSet[Alias]):
    """Other names callers may ask for; `?name=` for the one of this name. Gateways learn of a change at once."""

    queryset = Alias.objects.prefetch_related("targets__deployment").order_by("name")
    serializer_class = AliasSerializer
    http_method_names = METHODS
    lookup_value_regex = NUMBER

    def get_queryset(self) -> QuerySet[Alias]:
        """All, or the one named."""
        name = self.request.query_params.get("name")
        return super().get_queryset().filter(name=name) if name else super().get_queryset()

    def perform_destroy(self, instance: Alias) -> None:
        """DELETE removes the alias alone; the deployments behind the alias stay."""
        instance.delete()
        aliases.announce()
