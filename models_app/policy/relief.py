"""Who sleeps for a GPU whose engines lack KV memory that limits cannot give them: by the rules of `eviction`."""

from django.db import transaction

from gpus.models import GPU
from models_app.models import Replica
from models_app.policy import eviction
from models_app.policy.eviction import Verdict
from models_app.policy.scene import LockedGPUs, read_traffic
from models_app.policy.verdicts import evict
from models_app.states import Goal, State
from sardeenz import sizes

ACTOR = "governor"
_GOES = Replica.objects.filter(state__in=[State.READY, State.DRAINING, State.STOPPING]).exclude(goal=Goal.READY)


def relieve(wanting: Replica, uuid: str, lacking_bytes: int) -> bool:
    """Have idle ones sleep for the engine that is `wanting`. Whether one does; where none may, all stay."""
    traffic = read_traffic()  # before any lock: Redis may take its time
    with transaction.atomic():
        gpus = list(GPU.objects.select_for_update().filter(uuid=uuid))
        if _GOES.filter(reservations__gpu__in=gpus).exists():
            return True  # what it gives back is not free yet
        here = LockedGPUs(gpus, traffic)
        seen = here.short_of_limits(wanting, uuid, lacking_bytes)
        decision = eviction.decide(seen)
        if decision.verdict is Verdict.EVICT:
            why = f"`{wanting.deployment.name}` lacks {sizes.needed(lacking_bytes)} of KV memory that no limit gives it"
            evict(decision, seen, here.rows, ACTOR, why)
    return decision.verdict is Verdict.EVICT
