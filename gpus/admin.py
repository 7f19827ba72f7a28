"""The machine in the admin: facts to read, two knobs to turn."""

from django.contrib import admin
from django.db.models import F, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from gpus import cordon
from gpus.models import GPU, Node
from sardeenz.admin_sizes import Readable


@admin.register(Node)
class NodeAdmin(Readable, admin.ModelAdmin):  # type: ignore[type-arg]
    """Nodes come from discovery; a node without GPUs may be removed."""

    list_display = ("name", "address", "simulated", "memory_bytes", "sleep_budget_bytes", "seen_at")
    readonly_fields = tuple(field.name for field in Node._meta.fields)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(GPU)
class GPUAdmin(Readable, admin.ModelAdmin):  # type: ignore[type-arg]
    """GPUs come from discovery; `enabled` and `headroom_bytes` are the operator's."""

    list_display = ("index", "node", "name", "memory_bytes", "headroom_bytes", "enabled", "drain", "present", "uuid")
    actions = ("cordon", "uncordon")
    list_filter = ("node", "enabled", "present", "simulated")
    list_select_related = ("node",)
    search_fields = ("uuid", "name", "node__name")
    readonly_fields = tuple(f.name for f in GPU._meta.fields if f.name not in ("enabled", "headroom_bytes"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: GPU, form: "ModelForm[GPU]", change: bool) -> None:
        """Write the changed knobs only: discovery may have written the facts meanwhile."""
        changed = {field: form.cleaned_data[field] for field in form.changed_data}
        enabled = changed.pop("enabled", None)
        if changed:
            GPU.objects.filter(pk=obj.pk).update(**changed, seq=F("seq") + 1)
        if enabled is not None:
            by = request.user.get_username()
            cordon.uncordon([obj], by=by) if enabled else cordon.cordon([obj], by=by)

    @admin.action(description="Cordon the selected GPUs: they take nothing new")
    def cordon(self, request: HttpRequest, queryset: "QuerySet[GPU]") -> None:
        """What runs on these GPUs runs on."""
        cordon.cordon(queryset, by=request.user.get_username())

    @admin.action(description="Uncordon the selected GPUs")
    def uncordon(self, request: HttpRequest, queryset: "QuerySet[GPU]") -> None:
        """These GPUs take new replicas again."""
        cordon.uncordon(queryset, by=request.user.get_username())
