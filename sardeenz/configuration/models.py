"""The configuration as it was at each version, and how its secrets are called."""

from django.db import models


class ConfigurationVersion(models.Model):
    """All of the configuration at one moment: by a document that was applied, or as it was found after other edits."""

    number = models.PositiveIntegerField(unique=True)
    author = models.CharField(max_length=200, help_text="who applied it, or who had edited since the version before")
    applied = models.BooleanField(help_text="made by a document; else found, after edits on the page, the API or CLI")
    at = models.DateTimeField(auto_now_add=True)
    base = models.PositiveIntegerField(null=True, help_text="the version that its document was made from")
    rows = models.JSONField(help_text="every field by section and name; secrets as references with seals")
    document = models.TextField(help_text="the same as YAML")
    diff = models.TextField(help_text="against the version before")

    class Meta:
        ordering = ("-number",)
        verbose_name = "configuration version"

    def __str__(self) -> str:
        return f"version {self.number}"


class SecretReference(models.Model):
    """What documents call the secret that one variable of a runtime or a deployment holds."""

    section = models.CharField(max_length=32)
    owner = models.CharField(max_length=200)
    variable = models.CharField(max_length=128)
    name = models.CharField(max_length=200)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["section", "owner", "variable"], name="secret_reference_once"),)

    def __str__(self) -> str:
        return f"{self.owner}.{self.variable}: {self.name}"
