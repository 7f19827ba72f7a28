"""An engine is an orphan only once rows that were read after it was first seen do not know it."""

import pytest
from django.conf import LazySettings
from django.db import DatabaseError

from models_app.models import Replica
from models_app.node.owners import READ_SECONDS, Owners
from models_app.states import State
from tests import factories

pytestmark = pytest.mark.django_db


def owned(settings: LazySettings, **fields: object) -> Replica:
    replica = factories.replica(**fields)
    settings.NODE = replica.gpu.node.name
    return replica


def test_an_owner_has_the_sizes_that_were_measured(settings: LazySettings) -> None:
    replica = owned(settings, profile={"weights_bytes": 7}, spec={"weights_bytes": 9, "overhead_bytes": 3})
    owners = Owners()
    owners.read()
    owner = owners.by_marker[replica.marker]
    assert (owner.weights_bytes, owner.overhead_bytes, owner.asleep) == (7, 3, False)


def test_a_new_engine_is_no_orphan_until_rows_were_read_that_do_not_know_it(settings: LazySettings) -> None:
    replica = owned(settings)
    owners = Owners()
    owners.read()
    assert owners.due({replica.marker, "404:1"})
    assert owners.orphans({replica.marker, "404:1"}) == set()
    owners.read()
    assert owners.orphans({replica.marker, "404:1"}) == {"404:1"}
    assert not owners.due({replica.marker, "404:1"})


def test_rows_are_read_again_after_a_while_and_never_where_no_engine_lives(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = owned(settings)
    owners = Owners()
    owners.read()
    assert not owners.due({replica.marker})
    monkeypatch.setattr("models_app.node.owners.time.monotonic", lambda: owners._began + READ_SECONDS)
    assert owners.due({replica.marker})
    assert not owners.due(())


def test_an_engine_of_another_node_is_not_looked_for_here(settings: LazySettings) -> None:
    replica = owned(settings)
    settings.NODE = "elsewhere"
    owners = Owners()
    owners.read()
    assert replica.marker not in owners.by_marker


def test_a_stopped_replica_owns_no_engine(settings: LazySettings) -> None:
    replica = owned(settings, state=State.STOPPED, ipc_name="")
    owners = Owners()
    owners.read()
    assert replica.marker not in owners.by_marker


def test_a_database_that_is_away_leaves_what_was_known(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = owned(settings)
    owners = Owners()
    owners.read()

    def away(*_: object, **__: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(Replica.objects, "filter", away)
    with pytest.raises(DatabaseError):
        owners.read()
    assert owners.orphans({replica.marker}) == set()
