"""GPUs that take nothing new until they are uncordoned, and who may not come back to one."""

from gpus.models import GPU
from models_app.errors import GPUCordoned
from models_app.models import Replica
from models_app.states import State


def there() -> list[GPU]:
    """Every GPU that is there and cordoned."""
    return list(GPU.objects.filter(enabled=False, present=True).select_related("node").order_by("uuid"))


def kept_off(replica: Replica) -> GPU | None:
    """The cordoned GPU to which a replica without an engine may not come back; what runs on one runs on."""
    if replica.state != State.STOPPED:
        return None
    return GPU.objects.filter(reservations__replica=replica, enabled=False).select_related("node").first()


def refusal(gpu: GPU) -> GPUCordoned:
    """That nothing new comes to a cordoned GPU, who said so, and how that ends."""
    by = f" by {gpu.cordoned_by}" if gpu.cordoned_by else ""
    why = f" ({gpu.cordon_message})" if gpu.cordon_message else ""
    end = f"`sardeenz gpu uncordon {gpu.node.name}/{gpu.index}` ends that"
    words = f"GPU {gpu.index} of {gpu.node.name} is cordoned{by}{why} and takes nothing new; {end}"
    return GPUCordoned(words, gpu=gpu.uuid, node=gpu.node.name, by=gpu.cordoned_by)
