"""/api/keys and /api/usage."""

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.serializers import BaseSerializer

from gateway import keys
from gateway.models import ApiKey, UsageRecord
from gateway.serializers import KeySerializer, NewKeySerializer, UsageSerializer


class KeyViewSet(mixins.CreateModelMixin, mixins.DestroyModelMixin, viewsets.ReadOnlyModelViewSet[ApiKey]):
    """Keys. A key is made once, shown once, and revoked by DELETE; its row stays, for what it used."""

    queryset = ApiKey.objects.select_related("owner")

    def get_serializer_class(self) -> type[BaseSerializer[ApiKey]]:
        return NewKeySerializer if self.action == "create" else KeySerializer

    def perform_create(self, serializer: BaseSerializer[ApiKey]) -> None:
        """The person who makes it owns it; a key made by a key has no owner."""
        user = self.request.user
        serializer.save(owner=user if isinstance(user, User) else None)

    def perform_destroy(self, instance: ApiKey) -> None:
        """End the key."""
        keys.revoke(instance)


@extend_schema_view(list=extend_schema(parameters=[OpenApiParameter("model", str), OpenApiParameter("key", int)]))
class UsageViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[UsageRecord]):
    """Finished calls, newest first; `?model=` and `?key=` narrow them."""

    queryset = UsageRecord.objects.select_related("key")
    serializer_class = UsageSerializer

    def get_queryset(self) -> QuerySet[UsageRecord]:
        """Those of one served name, or of one key."""
        found = super().get_queryset()
        asked = self.request.query_params
        if model := asked.get("model"):
            found = found.filter(served_name=model)
        if key := asked.get("key"):
            found = found.filter(key_id=int(key)) if key.isdecimal() else found.none()
        return found
