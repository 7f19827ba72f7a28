"""The intent in the admin. States are there to read; verbs are actions and go through `lifecycle`."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from models_app import snapshot
from models_app.admin_forms import DeploymentForm, RuntimeForm, WeightsForm
from models_app.api import edits
from models_app.api.serializers import DeploymentSerializer
from models_app.lifecycle import fleet, queues, verbs
from models_app.memory.profiles import SECONDS
from models_app.models import (
    Decision,
    Deployment,
    EngineRuntime,
    MemoryProfile,
    Model,
    Override,
    Plan,
    Replica,
    Reservation,
    Transition,
    Window,
    WindowState,
)
from models_app.policy.windows import by_hand
from models_app.rows import shown
from sardeenz.admin_sizes import Readable
from sardeenz.errors import SardeenzError


class ReadOnly:
    """Facts that programs write: nobody adds, changes or removes them by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def attempt(request: HttpRequest, rows: QuerySet[Any], verb: Callable[..., Any], done: str, **how: Any) -> None:
    """Apply a verb to each chosen row; what cannot be done is shown as a message and stops nothing else."""
    for row in rows:
        try:
            verb(row, actor=request.user.get_username(), **how)
        except SardeenzError as error:
            messages.error(request, f"{row}: {error.message}")
        else:
            messages.success(request, f"{row}: {done}")


class ActOnly(ReadOnly):
    """As ReadOnly, with verbs for those who may change the rows."""

    def has_verb_permission(self, request: HttpRequest) -> bool:
        """Who may use the verbs."""
        return request.user.has_perm("models_app.change_replica")


@admin.register(Model)
class ModelAdmin(Readable, admin.ModelAdmin):  # type: ignore[type-arg]
    """Weights; folders are checked by the API, so rows are made there."""

    form = WeightsForm

    list_display = ("name", "source", "revision", "created_at")
    search_fields = ("name", "source")
    readonly_fields = ("source", "facts", "created_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(EngineRuntime)
class EngineRuntimeAdmin(Readable, admin.ModelAdmin):  # type: ignore[type-arg]
    """Which executable runs an engine."""

    form = RuntimeForm

    list_display = ("name", "kind", "version", "kvcached", "executable")
    list_filter = ("kind",)


class ReplicaInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """The placed copies of a deployment."""

    model = Replica
    fields = ("id", "gpu", "state", "goal", "generation", "message")
    readonly_fields = fields
    fk_name = "deployment"
    extra = 0
    show_change_link = True


@admin.register(Deployment)
class DeploymentAdmin(Readable, admin.ModelAdmin):  # type: ignore[type-arg]
    """The intent. A change is judged as the API judges it, acts as it does there, and is in the history."""

    form = DeploymentForm

    list_display = (
        "name",
        "served_name",
        "model",
        "runtime",
        "replicas",
        "priority",
        "kv_weight",
        "pinned",
        "goal",
        "message",
        "deleting",
    )
    list_select_related = ("model", "runtime")
    list_filter = ("runtime", "pinned")
    search_fields = ("name", "served_name")
    readonly_fields = ("name", "variables", "goal", "reason", "message", "deleting", "created_at", "seq")
    inlines = (ReplicaInline,)
    actions = ("deploy", "stop", "remove")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Deployment | None = None) -> bool:
        """Only the action deletes, for it stops the engines first."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Deployment | None = None) -> bool:
        """One that is being deleted is there to read."""
        return super().has_change_permission(request, obj) and not (obj is not None and obj.deleting)

    def save_model(self, request: HttpRequest, obj: Deployment, form: forms.ModelForm, change: bool) -> None:  # type: ignore[type-arg]
        """Write the changed fields only, tell open pages, and note who changed what."""
        given: DeploymentSerializer = form.given  # type: ignore[attr-defined]
        before = edits.values(Deployment.objects.select_for_update().get(pk=obj.pk))
        written = given.save()
        edits.record(written, before, actor=request.user.get_username())
        snapshot.publish_deployment(written.pk, written.seq)
        transaction.on_commit(queues.poke_control)

    @admin.display(description="environment")
    def variables(self, deployment: Deployment) -> str:
        """Its variables, those that look like secrets hidden."""
        return ", ".join(f"{name}={value}" for name, value in shown(deployment.environment).items()) or "-"

    @admin.action(description="Deploy: bring to the number of replicas", permissions=["change"])
    def deploy(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        """Each selected deployment is deployed as by POST /api/deployments/<id>/deploy."""
        attempt(request, queryset, by_hand.deploy, "being deployed")

    @admin.action(description="Stop every replica", permissions=["change"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        """Each selected deployment is stopped as by POST /api/deployments/<id>/stop."""
        attempt(request, queryset, by_hand.stop_all, "being stopped")

    @admin.action(description="Delete: stop every replica, then forget the deployment", permissions=["change"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        """Each selected deployment is deleted as by DELETE /api/deployments/<id>, once its engines have ended."""
        attempt(request, queryset, fleet.delete, "being deleted")


class ReservationInline(Readable, ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    """What is counted against the replica."""

    model = Reservation
    extra = 0


@admin.register(Replica)
class ReplicaAdmin(Readable, ActOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Placed copies and where they stand."""

    list_display = ("id", "deployment", "gpu", "state", "goal", "generation", "reason", "state_at")
    list_select_related = ("deployment", "gpu__node")
    list_filter = ("state", "goal", "gpu")
    search_fields = ("deployment__name", "message")
    inlines = (ReservationInline,)
    actions = ("start", "stop", "restart", "sleep", "wake", "cancel")

    @admin.action(permissions=["verb"])
    def start(self, request: HttpRequest, queryset: QuerySet[Replica]) -> None:
        """A stopped or failed replica is started, and a sleeping replica is woken."""
        attempt(request, queryset, by_hand.start, "being started")

    @admin.action(permissions=["verb"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Replica]) -> None:
        """Drain, then end the engine."""
        attempt(request, queryset, by_hand.stop, "being stopped")

    @admin.action(permissions=["verb"])
    def restart(self, request: HttpRequest, queryset: QuerySet[Replica]) -> None:
        """Stop, then start with the present settings."""
        attempt(request, queryset, verbs.restart, "being restarted")

    @admin.action(permissions=["verb"])
    def sleep(self, request: HttpRequest, queryset: QuerySet[Replica]) -> None:
        """Level 1: the weights stay in host RAM."""
        attempt(request, queryset, by_hand.sleep, "going to sleep")

    @admin.action(permissions=["verb"])
    def wake(self, request: HttpRequest, queryset: QuerySet[Replica]) -> None:
        """Head for ready from sleep."""
        attempt(request, queryset, by_hand.wake, "waking")

    @admin.action(permissions=["verb"], description="Cancel what is under way")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Replica]) -> None:
        """Undo a load, a drain or a move."""
        attempt(request, queryset, verbs.cancel, "cancelled")


@admin.register(Reservation)
class ReservationAdmin(Readable, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Each row is the bytes of one GPU that count against one replica."""

    list_display = ("replica", "gpu", "held_bytes", "awake_bytes", "asleep_bytes")
    list_select_related = ("replica__deployment", "gpu__node")


@admin.register(Transition)
class TransitionAdmin(Readable, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("at", "deployment_name", "replica_id", "old", "new", "goal", "reason", "message", "actor")
    list_filter = ("new", "reason")
    search_fields = ("deployment_name", "actor", "message")
    date_hierarchy = "at"


@admin.register(Decision)
class DecisionAdmin(Readable, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("at", "deployment_name", "kind", "code", "sentence", "actor", "times", "last_at")
    list_filter = ("kind", "code")
    search_fields = ("deployment_name", "actor", "sentence")
    date_hierarchy = "at"


@admin.register(Window)
class WindowAdmin(Readable, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Shown only: the API checks what a window would do before it is saved."""

    list_display = ("name", "cron", "weekdays", "time", "zone", "duration_seconds", "precedence", "paused")
    list_filter = ("paused",)
    search_fields = ("name",)


@admin.register(WindowState)
class WindowStateAdmin(Readable, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("window", "deployment", "label", "level", "kv_floor_bytes", "kv_cap_bytes", "kv_weight", "priority")
    list_select_related = ("window", "deployment")


@admin.register(Override)
class OverrideAdmin(Readable, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("deployment", "values", "actor", "created_at", "until")
    list_select_related = ("deployment",)


@admin.register(Plan)
class PlanAdmin(Readable, ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("__str__", "actor", "made_at", "expires_at", "applied_at", "applied_by")
    date_hierarchy = "made_at"


@admin.register(MemoryProfile)
class MemoryProfileAdmin(Readable, admin.ModelAdmin):  # type: ignore[type-arg]
    """Bytes measured at loads; removing one makes the next load estimate anew."""

    list_display = ("__str__", "gpu_name", "weights_bytes", "overhead_bytes", *SECONDS, "measured_at")
    readonly_fields = [field.name for field in MemoryProfile._meta.fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
