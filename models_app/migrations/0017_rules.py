"""Rules of our own act as `rule:...`, so that a window may have any name."""

from django.db import migrations

RULES = ("idle", "evict", "host_memory", "rehearsal")


def rename(apps, schema_editor):
    windows = apps.get_model("models_app", "Window").objects
    for rule in RULES:
        if windows.filter(name=rule).exists():
            continue  # whose word it was is not known any more
        for kind in ("Transition", "Decision"):
            apps.get_model("models_app", kind).objects.filter(actor=f"policy:{rule}").update(actor=f"rule:{rule}")


class Migration(migrations.Migration):
    dependencies = [("models_app", "0016_history_gpus")]

    operations = [migrations.RunPython(rename, migrations.RunPython.noop, elidable=True)]
