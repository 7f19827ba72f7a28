"""Words of the pages as a catalogue can hold them."""

import re

from tests.frontend.test_styles import SOURCE

ENTITY = re.compile(r"&#?\w+;")
KEY = re.compile(r'^\s*("[^"]* [^"]*"):', re.MULTILINE)


def test_no_text_has_an_entity() -> None:
    """Of `&ensp;` the build leaves `&` in the sentence that it takes out: the character itself is written."""
    components = sorted(SOURCE.rglob("*.svelte"))
    assert len(components) > 100
    found = {str(one.relative_to(SOURCE)): said for one in components if (said := ENTITY.findall(one.read_text()))}
    assert found == {}


def test_no_table_is_looked_up_by_a_text() -> None:
    """A key with blanks is taken for words that people read, and translated: nobody finds it in another language."""
    modules = [one for kind in ("*.ts", "*.svelte") for one in SOURCE.rglob(kind) if ".wuchale" not in one.parts]
    read = [one for one in modules if not one.name.endswith((".test.ts", ".d.ts"))]
    assert len(read) > 200
    found = {str(one.relative_to(SOURCE)): said for one in read if (said := KEY.findall(one.read_text()))}
    assert found == {}
