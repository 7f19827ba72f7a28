"""Print what transformers fills in for fields that a config leaves out; run by the Python of vLLM's environment.

Put into `models_app/catalogue/families.json` the families whose caches `test_families.py` finds equal, and no others.
Some entries there are set by hand: MiMo's KV heads of windowed layers, text parts of multimodal families, and no
pattern where the layers follow a rule in `kinds.py`.

usage: python write_families.py FIELD,FIELD,... > FILE
"""

import dataclasses
import json
import re
import sys
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
_COUNTS = (24, 31, 36)
_ENDS = re.compile(r"(text|llm|language)\Z")


def named(model_type: str) -> str:
    """The family's name as `catalogue.families` writes it."""
    return _ENDS.sub("", re.sub(r"[^a-z0-9]", "", model_type.lower()))


def text_class(made: Any) -> Any:
    """The class of its language model's configuration."""
    parts = getattr(made, "sub_configs", None) or {}
    found = next((parts[name] for name in _TEXT_PARTS if name in parts), None)
    return made if found is None or found.__name__ == "AutoConfig" else text_class(found)


def pattern(made: Any) -> list[str] | None:
    """The kinds of layers that come again and again by default; empty where they follow no period."""
    try:
        listed = [getattr(made(num_hidden_layers=count), "layer_types", None) for count in _COUNTS]
    except Exception:
        return []
    if not all(isinstance(each, list | tuple) for each in listed):
        return None
    for period in range(1, 13):
        if all(each[place] == each[place % period] for each in listed for place in range(len(each) - 1)):
            return list(listed[-1][:period])
    return []


def defaults(made: Any, wanted: set[str]) -> dict[str, Any]:
    """The fields that have a value by default."""
    fields = {one.name: one.default for one in dataclasses.fields(made)}
    plain = {name: fields[name] for name in wanted & set(fields) if isinstance(fields[name], int | float | str)}
    found = {name: value for name, value in plain.items() if value is not False or name == "use_sliding_window"}
    kinds = pattern(made)
    unused = kinds and set(kinds) == {"full_attention"} and not {"sliding_window"} & set(found)
    return found if kinds is None or unused else found | {"pattern": kinds}


def main() -> None:
    """One line for each family."""
    wanted, families = set(sys.argv[1].split(",")), {}
    for model_type in CONFIG_MAPPING:
        made = text_class(CONFIG_MAPPING[model_type])
        if dataclasses.is_dataclass(made):
            families.setdefault(named(model_type), defaults(made, wanted))
    lines = (f"{json.dumps(name)}: {json.dumps(told, sort_keys=True)}" for name, told in sorted(families.items()))
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
