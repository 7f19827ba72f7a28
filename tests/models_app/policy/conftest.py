"""What the tests of this folder share: turns long enough that a slow machine is not taken for one that waits."""

import pytest
from django.conf import LazySettings


@pytest.fixture(autouse=True)
def long_turns(settings: LazySettings) -> None:
    settings.MIN_RESIDENT_SECONDS = 15.0
    settings.EVICT_WAIT_SECONDS = {-1: 5.0, 0: 30.0, 1: 120.0}
