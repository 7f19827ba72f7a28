"""Keys in the admin: made, shown once, revoked. Usage is read."""

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway import keys
from gateway.models import ApiKey, Scope, UsageRecord
from sardeenz.errors import InvalidSpec


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a person chooses of a new key."""

    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ("name", "owner", "scopes", "expires_at")

    def clean_scopes(self) -> list[str]:
        """An inference key can never manage."""
        try:
            return keys.check_scopes(self.cleaned_data["scopes"])
        except InvalidSpec as error:
            raise forms.ValidationError(error.message) from error


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows stay when a key is revoked: what it used is still its own."""

    list_display = ("name", "prefix", "scopes", "owner", "usable", "created_at", "expires_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "owner__username")
    form = KeyForm
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A key is never changed, but the list and its revoke action stay."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: "forms.ModelForm[ApiKey]", change: bool) -> None:
        """Make the key and show it, this once."""
        made, plain = keys.create(obj.name, obj.scopes, owner=obj.owner, expires_at=obj.expires_at)
        obj.pk, obj.prefix, obj.digest, obj.created_at = made.pk, made.prefix, made.digest, made.created_at
        obj._state.adding = False
        messages.warning(request, f"This is the key, shown now and never again: {plain}")

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End each of them."""
        for key in queryset:
            keys.revoke(key)


@admin.register(UsageRecord)
class UsageRecordAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Finished calls, read-only."""

    list_display = ("at", "served_name", "path", "status", "outcome", "prompt_tokens", "completion_tokens", "key")
    list_filter = ("outcome", "served_name")
    list_select_related = ("key",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: UsageRecord | None = None) -> bool:
        return False
