import django.contrib.postgres.fields
from django.db import migrations, models


def fill(apps, schema_editor):
    """What is kept of replicas that are still there says where they are; of others nobody knows it."""
    replicas = apps.get_model("models_app", "Replica").objects.select_related("gpu")
    transitions = apps.get_model("models_app", "Transition").objects
    for replica in replicas:
        gpus = list(replica.spec.get("gpu_uuids") or []) or [replica.gpu.uuid]
        transitions.filter(replica_id=replica.pk).update(gpus=gpus)


class Migration(migrations.Migration):
    dependencies = [("models_app", "0015_orphans")]

    operations = [
        migrations.AddField(
            model_name="transition",
            name="gpus",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=128),
                blank=True,
                default=list,
                help_text="UUIDs of those the replica is on",
                size=None,
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
