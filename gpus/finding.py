"""Which GPU somebody means: by the index people see, by node/index or by UUID. A row's id is nobody's to know."""

from gpus.models import GPU
from sardeenz.errors import InvalidSpec


def find(given: str | int) -> GPU:
    """The GPU meant by `1`, `node-b/1` or a UUID. Raises InvalidSpec when there is none, or more than one."""
    text = str(given).strip()
    known = list(GPU.objects.select_related("node").order_by("node__name", "index", "uuid"))
    found = [gpu for gpu in known if gpu.uuid == text]
    if not found:
        node, slash, index = text.rpartition("/")
        found = [gpu for gpu in known if str(gpu.index) == index and (not slash or gpu.node.name == node)]
        found = [gpu for gpu in found if gpu.present] or found
    if len(found) > 1:
        raise InvalidSpec(f"there are several GPUs {text}: {_choices(found)}; say which", field="gpu")
    if not found:
        there = f"there are {_choices(known)}" if known else "there is none at all"
        raise InvalidSpec(f"there is no GPU {text!r}; {there}", field="gpu")
    return found[0]


def of_node(name: str) -> list[GPU]:
    """Every GPU of the node of this name. Raises InvalidSpec when there is none."""
    found = list(GPU.objects.select_related("node").filter(node__name=name).order_by("index", "uuid"))
    if not found:
        raise InvalidSpec(f"there is no node {name!r} with GPUs", field="node")
    return found


def _choices(gpus: list[GPU]) -> str:
    """Each as it may be typed: node/index, or the UUID where slices of one device share an index."""
    names = [f"{gpu.node}/{gpu.index}" for gpu in gpus]
    return ", ".join(name if names.count(name) == 1 else gpu.uuid for name, gpu in zip(names, gpus, strict=True))
