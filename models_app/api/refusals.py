"""What is refused to people and scripts is kept, so that `why` can tell of it later."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from models_app import decisions
from models_app.models import Deployment, Replica
from sardeenz.errors import Forbidden, Refused, SardeenzError, Unauthorized, Unavailable


class KeepsRefusals(GenericViewSet[Any]):
    """Views whose verbs may be refused by the state of what they act on."""

    def handle_exception(self, exc: Exception) -> Response:
        """Answer as ever, and keep why a verb was refused; a caller without the right is told and forgotten."""
        response = super().handle_exception(exc)
        mere_right = isinstance(exc, Unauthorized | Forbidden)
        if isinstance(exc, Refused | Unavailable) and not mere_right and self.request.method not in SAFE_METHODS:
            self._keep(exc)
        return response

    def _keep(self, error: SardeenzError) -> None:
        about, verb = self._about(), str(self.action).replace("_", " ")
        if about is None:
            return
        sentence = f"{verb} of {about} was refused: {error.message}"
        replica = about.pk if isinstance(about, Replica) else None
        name = about.deployment.name if isinstance(about, Replica) else about.name
        kind, who = decisions.Kind.REFUSAL, self.request.user.get_username()
        decisions.keep(decisions.Decided(kind, error.code, sentence, name, who, replica, error.fields))

    def _about(self) -> Deployment | Replica | None:
        """The row that the verb is about; None for one that was to be made."""
        model = self.get_queryset().model
        number = self.kwargs.get("pk")
        if number is None or model not in (Deployment, Replica):
            return None
        related = ("deployment",) if model is Replica else ()
        found: Deployment | Replica | None = model.objects.select_related(*related).filter(pk=number).first()
        return found
