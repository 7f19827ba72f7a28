"""Teams, keys and aliases in the admin. A key is made, shown once, and revoked; usage is read."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest

from gateway.access import aliases, keys
from gateway.api.serializers import QUOTA
from gateway.metering import teams
from gateway.models import Alias, AliasTarget, ApiKey, Scope, Team, UsageHour, UsageRecord
from models_app.admin import ReadOnly
from sardeenz.errors import InvalidSpec, SardeenzError

LIMITS: Any = ("Limits; empty: none of its own", {"fields": QUOTA})


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "weight", "priority", "requests_per_minute", "tokens_per_minute", "concurrent_requests")
    search_fields = ("name",)
    fieldsets = ((None, {"fields": ("name", "weight", "priority")}), LIMITS)
    actions = ("remove",)

    def has_delete_permission(self, request: HttpRequest, obj: Team | None = None) -> bool:
        """Only the action deletes, for what the team used has to stay."""
        return False

    def save_model(self, request: HttpRequest, obj: Team, form: "forms.ModelForm[Team]", change: bool) -> None:
        """Write a new row, or the changed fields only."""
        obj.save(update_fields=form.changed_data if change else None)

    @admin.action(description="Delete the selected teams", permissions=["change"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        """The action deletes as DELETE /api/teams/<id> does; a message names each team that keys still use."""
        for team in queryset:
            try:
                teams.delete(team)
            except SardeenzError as error:
                messages.error(request, f"{team}: {error.message}")
            else:
                messages.success(request, f"{team}: deleted")


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a person chooses of a key; its scopes stay as they were made."""

    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ("name", "owner", "team", "scopes", "allowed_models", "expires_at", *QUOTA)

    def clean_scopes(self) -> list[str]:
        """An inference key can never manage."""
        try:
            return keys.check_scopes(self.cleaned_data["scopes"])
        except InvalidSpec as error:
            raise forms.ValidationError(error.message) from error

    def clean_allowed_models(self) -> list[str]:
        """Names there are now; those it had before may stay."""
        return keys.check_models(self.cleaned_data["allowed_models"], before=self.initial.get("allowed_models") or ())


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows stay when a key is revoked: what it used is still its own."""

    list_display = ("name", "prefix", "scopes", "team", "owner", "usable", "created_at", "expires_at", "revoked_at")
    list_select_related = ("owner", "team")
    list_filter = ("team",)
    search_fields = ("name", "prefix", "owner__username")
    form = KeyForm
    fieldsets = (
        (None, {"fields": ("name", "owner", "team", "scopes", "allowed_models", "expires_at")}),
        LIMITS,
    )
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A revoked key is only looked at."""
        return (obj is None or obj.revoked_at is None) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """What a key is for never changes."""
        return () if obj is None else ("scopes",)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: "forms.ModelForm[ApiKey]", change: bool) -> None:
        """Write the changed fields only; or make the key and show it, this once."""
        if change:
            return obj.save(update_fields=form.changed_data)
        made, plain = keys.create(**form.cleaned_data)
        obj.pk, obj.prefix, obj.digest, obj.created_at = made.pk, made.prefix, made.digest, made.created_at
        obj._state.adding = False
        messages.warning(request, f"This is the key, shown now and never again: {plain}")

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """The action ends each selected key for good; gateways refuse a revoked key within a second."""
        for key in queryset:
            keys.revoke(key)


class AliasForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form edits the name of an alias; `TargetInline` edits the alias's targets."""

    class Meta:
        model = Alias
        fields = ("name",)

    def clean_name(self) -> str:
        """A name that a deployment answers to is refused with a ValidationError."""
        return aliases.check_name(self.cleaned_data["name"])


class TargetFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """The targets of an alias, together."""

    def clean(self) -> None:
        """Each deployment once, and one of them to choose."""
        super().clean()
        rows = [form.cleaned_data for form in self.forms if form.is_valid() and form.cleaned_data.get("deployment")]
        aliases.check_targets((row["deployment"], row["weight"]) for row in rows if not row.get("DELETE"))


class TargetInline(admin.TabularInline):  # type: ignore[type-arg]
    """Deployments behind an alias; `place` is their order among the fallbacks."""

    model = AliasTarget
    formset = TargetFormSet
    fields = ("deployment", "weight", "place")
    extra = 1


@admin.register(Alias)
class AliasAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Other names callers may ask for."""

    list_display = ("name", "answered_by", "created_at")
    search_fields = ("name",)
    form = AliasForm
    inlines = (TargetInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alias]:
        """The targets are fetched at once because `answered_by` shows the targets of every alias."""
        return super().get_queryset(request).prefetch_related("targets__deployment")

    @admin.display(description="answered by")
    def answered_by(self, alias: Alias) -> str:
        """Each deployment with its weight."""
        return ", ".join(f"{target.deployment} {target.weight}" for target in alias.targets.all())

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Gateways are told here, because `save_model` runs before the alias's targets are written."""
        super().save_related(request, form, formsets, change)
        aliases.announce()

    def delete_model(self, request: HttpRequest, obj: Alias) -> None:
        super().delete_model(request, obj)
        aliases.announce()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Alias]) -> None:
        super().delete_queryset(request, queryset)
        aliases.announce()


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "at",
        "served_name",
        "asked_name",
        "path",
        "status",
        "outcome",
        "prompt_tokens",
        "completion_tokens",
        "ttft_seconds",
        "e2e_seconds",
        "key",
        "team",
    )
    list_filter = ("outcome", "served_name", "team")
    list_select_related = ("key", "team")
    show_full_result_count = False


@admin.register(UsageHour)
class UsageHourAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Each row sums the calls of one hour (UTC) by key, team and served name."""

    list_display = (
        "hour",
        "served_name",
        "key",
        "team",
        "calls",
        "failed",
        "cancelled",
        "prompt_tokens",
        "completion_tokens",
        "gpu_seconds",
    )
    list_filter = ("served_name", "team")
    list_select_related = ("key", "team")
    date_hierarchy = "hour"
    show_full_result_count = False
