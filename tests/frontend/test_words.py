"""Words of the pages as a catalogue can hold them."""

import re

from tests.frontend.test_styles import SOURCE

ENTITY = re.compile(r"&#?\w+;")


def test_no_text_has_an_entity() -> None:
    """Of `&ensp;` the build leaves `&` in the sentence that it takes out: the character itself is written."""
    components = sorted(SOURCE.rglob("*.svelte"))
    assert len(components) > 100
    found = {str(one.relative_to(SOURCE)): said for one in components if (said := ENTITY.findall(one.read_text()))}
    assert found == {}
