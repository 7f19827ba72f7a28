"""The sections of a document: which rows each is, and the serializers and verbs by which they change."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import ProtectedError, QuerySet
from django.utils import timezone
from rest_framework import serializers

from gateway.access import aliases
from gateway.api.serializers import AliasSerializer, TeamSerializer
from gateway.metering import teams
from gateway.models import Alias, Team
from models_app import snapshot
from models_app.api import edits
from models_app.api.serializers import DeploymentSerializer, ModelSerializer, RuntimeSerializer
from models_app.api.window_serializers import WindowSerializer
from models_app.errors import InUse
from models_app.lifecycle import fleet, queues, verbs
from models_app.models import Deployment, EngineRuntime, Model, Window
from models_app.policy import consent
from models_app.policy.windows import conflicts, reading
from models_app.states import Goal
from sardeenz.configuration import secrets, shapes
from sardeenz.configuration.compare import Change, Fields
from sardeenz.configuration.secrets import References
from sardeenz.configuration.shapes import Shape


class Section:
    """One kind of row, called by its name, with what the REST API may set of it."""

    def __init__(
        self, name: str, noun: str, rows: QuerySet[Any], serializer: type[serializers.Serializer[Any]]
    ) -> None:
        self.name = name
        self.noun = noun
        self._rows = rows
        self.serializer = serializer

    @property
    def rows(self) -> QuerySet[Any]:
        """All of them, as they are now."""
        return self._rows.all()

    @cached_property
    def shape(self) -> Shape:
        """The fields that a document may say of one."""
        return shapes.of(self.serializer(), "name", "capture_until")

    def read(self, known: References) -> dict[str, Fields]:
        """Every row by its name."""
        return {row.name: self.fields(row, known) for row in self.rows}

    def fields(self, row: Any, known: References) -> Fields:
        """What a document says of this row."""
        return _represented(self.serializer(), row, self.shape)

    def locked(self, name: str) -> Any:
        """The row, ours until the transaction ends; None where there is none."""
        return self.rows.select_for_update(of=("self",)).filter(name=name).first()

    def carry_out(self, change: Change, actor: str) -> str:
        """Do what the change says, and tell what is still to come. Raises ValidationError and what the API refuses."""
        if change.verb == "delete":
            return self.delete(change.name, actor)
        fields = {name: new for name, (_, new) in change.fields.items()}
        hidden = {name: fields[name] for name, shape in self.shape.fields.items() if shape.hides and name in fields}
        given = fields | {name: secrets.revealed(value) for name, value in hidden.items()}
        (self.create if change.verb == "create" else self.update)(change.name, given, actor)
        for value in hidden.values():
            secrets.remember(self.name, change.name, value)
        return ""

    def create(self, name: str, fields: Fields, actor: str) -> Any:
        """Make one as a POST does. Raises ValidationError and what the API refuses."""
        given = self.serializer(data={"name": name} | fields)
        given.is_valid(raise_exception=True)
        return given.save()

    def update(self, name: str, fields: Fields, actor: str) -> Any:
        """Change one as a PATCH does. Raises as `create` does."""
        given = self.serializer(self.locked(name), data=fields, partial=True)
        given.is_valid(raise_exception=True)
        return given.save()

    def delete(self, name: str, actor: str) -> str:
        """Remove one as a DELETE does, and say what is still to come."""
        row = self.locked(name)
        try:
            with transaction.atomic():
                self._remove(row)
        except ProtectedError as error:
            going = {each.pk for each in error.protected_objects if getattr(each, "deleting", False)}
            names = ", ".join(sorted(map(str, error.protected_objects)))
            if len(going) < len(error.protected_objects):
                raise InUse(f"{name} is used by {names}; leave it, or delete those too") from error
            return f"it stays until {names} has ended; apply again then"
        return ""

    def _remove(self, row: Any) -> None:
        row.delete()

    def tidied(self, fields: Fields) -> Fields:
        """What a document says, in the form in which the rows say it."""
        return fields

    def check(self, name: str) -> None:
        """Raise SardeenzError where this row contradicts others, once all of a document is carried out."""


class _Runtimes(Section):
    """Runtimes: their variables may be secrets."""

    def fields(self, row: EngineRuntime, known: References) -> Fields:
        environment = secrets.sealed(row.environment, "runtimes", row.name, known)
        return super().fields(row, known) | {"environment": environment}


class _Models(Section):
    """Models: a folder is named as it lies in the models directory, which may be elsewhere on another server."""

    def fields(self, row: Model, known: References) -> Fields:
        found = super().fields(row, known)
        with suppress(ValueError):
            found["source"] = str(Path(row.source).relative_to(Path(settings.MODELS_DIR).resolve()))
        return found


class _Deployments(Section):
    """Deployments, with whether they are to serve; what is being deleted is not there any more."""

    @property
    def rows(self) -> QuerySet[Any]:
        return super().rows.filter(deleting=False)

    @cached_property
    def shape(self) -> Shape:
        given = shapes.of(self.serializer(), "name", "capture_until")
        return Shape("object", fields={"goal": Shape("text"), **given.fields})

    def fields(self, row: Deployment, known: References) -> Fields:
        environment = secrets.sealed(row.environment, "deployments", row.name, known)
        return super().fields(row, known) | {"goal": _own_goal(row), "environment": environment}

    def create(self, name: str, fields: Fields, actor: str) -> Any:
        for row in Deployment.objects.filter(name=name):
            verbs.refuse_deleting(row)
        made = super().create(name, {key: value for key, value in fields.items() if key != "goal"}, actor)
        return self._written(made, _goal(fields, Goal.READY), actor)

    def update(self, name: str, fields: Fields, actor: str) -> Any:
        before = edits.values(self.locked(name))
        written = super().update(name, {key: value for key, value in fields.items() if key != "goal"}, actor)
        edits.record(written, before, actor=actor)
        goal = _goal(fields, None)
        return self._written(written, None if goal == _own_goal(written) else goal, actor)

    def _written(self, row: Deployment, goal: Goal | None, actor: str) -> Deployment:
        if goal is not None and "goal_before" in row.governed:  # a window decides now; this holds after it
            row.governed = row.governed | {"goal_before": goal}
            row.save(update_fields=["governed"])
        elif goal is Goal.READY:
            consent.deploy(row, actor=actor)
        elif goal is Goal.STOPPED and row.goal != Goal.STOPPED:
            fleet.stop(row, actor=actor)
        row.refresh_from_db()
        snapshot.publish_deployment(row.pk, row.seq)
        transaction.on_commit(queues.poke_control)
        return row

    def delete(self, name: str, actor: str) -> str:
        row = Deployment.objects.get(name=name)
        fleet.delete(row, actor=actor)
        return "it goes with its last engine" if Deployment.objects.filter(pk=row.pk).exists() else ""


class _Windows(Section):
    """Windows: of what one asks only what it says is written, and what has the deployment's own value is left out."""

    def fields(self, row: Window, known: References) -> Fields:
        found = super().fields(row, known)
        leaving = set(row.states.filter(deployment__deleting=True).values_list("deployment__name", flat=True))
        states = [state for state in found["states"] if state["deployment"] not in leaving]
        return found | {"states": [_said(state) for state in states]}

    def tidied(self, fields: Fields) -> Fields:
        found = dict(fields)
        for name in ("time", "valid_from", "valid_until"):
            if found.get(name) is not None:
                field = self.serializer().fields[name]
                with suppress(serializers.ValidationError):
                    found[name] = field.to_representation(field.to_internal_value(found[name]))
        if "states" in found:
            found["states"] = [_said(state) for state in found["states"]]
        return found

    def create(self, name: str, fields: Fields, actor: str) -> Any:
        given = self.serializer(data={"name": name} | fields)
        given.is_valid(raise_exception=True)
        transaction.on_commit(queues.poke_policies)
        return given.save(author=actor)

    def update(self, name: str, fields: Fields, actor: str) -> Any:
        transaction.on_commit(queues.poke_policies)
        return super().update(name, fields, actor)

    def check(self, name: str) -> None:
        window = self.rows.get(name=name)
        others = [reading.schedule(other) for other in self.rows]
        conflicts.refuse(reading.schedule(window), others, timezone.now())

    def _remove(self, row: Window) -> None:
        row.delete()
        transaction.on_commit(queues.poke_policies)


class _Aliases(Section):
    """Aliases; the gateways hear of the change."""

    def _remove(self, row: Alias) -> None:
        row.delete()
        aliases.announce()


class _Teams(Section):
    """Teams; what they used stays counted."""

    def _remove(self, row: Team) -> None:
        teams.delete(row)


def _said(state: Fields) -> Fields:
    return {name: value for name, value in state.items() if value not in (None, "")}


def _own_goal(row: Deployment) -> str:
    """What is wanted of it where no window says its level."""
    return row.governed.get("goal_before", row.goal)


def _goal(fields: Fields, otherwise: Goal | None) -> Goal | None:
    said = fields.get("goal", otherwise)
    if said not in (None, Goal.READY, Goal.STOPPED) or ("goal" in fields and said is None):
        raise serializers.ValidationError({"goal": f"write {Goal.READY} or {Goal.STOPPED}"})
    return None if said is None else Goal(said)


def _represented(serializer: Any, row: models.Model, shape: Shape) -> Fields:
    """The fields as a request would give them: rows by name, instants as text."""
    return {name: _value(serializer.fields[name], row) for name in shape.fields if name in serializer.fields}


def _value(field: Any, row: models.Model) -> Any:
    held: Any = row
    for attribute in (field.source or field.field_name).split("."):
        held = getattr(held, attribute, None)
    if isinstance(field, serializers.ListSerializer) and held is not None:
        child: Any = field.child
        shape = shapes.of(child)
        return [_represented(child, each, shape) for each in held.all()]
    if held is None:
        return None
    return str(held) if isinstance(field, serializers.RelatedField) else field.to_representation(held)


SECTIONS: Mapping[str, Section] = {
    each.name: each
    for each in (
        _Runtimes("runtimes", "runtime", EngineRuntime.objects.all(), RuntimeSerializer),
        _Models("models", "model", Model.objects.all(), ModelSerializer),
        _Deployments(
            "deployments", "deployment", Deployment.objects.select_related("model", "runtime"), DeploymentSerializer
        ),
        _Windows("windows", "window", Window.objects.prefetch_related("states__deployment"), WindowSerializer),
        _Aliases("aliases", "alias", Alias.objects.prefetch_related("targets__deployment"), AliasSerializer),
        _Teams("teams", "team", Team.objects.all(), TeamSerializer),
    )
}
"""In the order in which they are made: whatever is named stands before what names it."""
