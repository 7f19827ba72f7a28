"""One replica as a step of its worker sees it."""

from models_app.lifecycle import observe
from models_app.lifecycle.observe import Remembered, Sight
from models_app.models import Replica


def sight(replica: Replica) -> Sight:
    """The world is looked at; its engine is not asked yet."""
    remembered = Remembered()
    return Sight(replica, observe.world(remembered), remembered)
