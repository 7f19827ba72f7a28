"""What a local model folder tells, and in words why it cannot be served where it cannot."""

from pathlib import Path
from typing import Any, Final

from models_app.catalogue import config, mistral, weights
from models_app.catalogue.reading import Unusable, json_object

CONFIG: Final = "config.json"
PARAMS: Final = "params.json"


def is_model(root: Path) -> bool:
    """Whether it holds one of the two configs that vLLM reads."""
    return (root / CONFIG).is_file() or (root / PARAMS).is_file()


def check(root: Path) -> None:
    """Raise Unusable for a folder that holds something else than a model that vLLM loads."""
    if not root.is_dir():
        raise Unusable("there is no such folder")
    if not is_model(root):
        raise Unusable(_something_else(root) or f"there is no model in {root}: neither {CONFIG} nor {PARAMS} is there")
    if not _has(root, "*.safetensors", "*.bin", "*.pt", "*.index.json") and _has(root, "*.gguf"):
        raise Unusable(_GGUF)


def facts(root: Path) -> dict[str, Any]:
    """The config's telling fields under their usual names and, with weight files, their bytes. Raises Unusable."""
    check(root)
    own_format = any(root.glob(weights.CONSOLIDATED)) and (root / PARAMS).is_file()
    if own_format or not (root / CONFIG).is_file():
        told = config.facts(mistral.translated(json_object(root / PARAMS))) | {"format": "mistral"}
    else:
        written = json_object(root / CONFIG)
        if wrong := config.wrong_field(written):
            raise Unusable(f"{CONFIG}: {wrong}")
        told = config.facts(written)
    told = {name: value for name, value in told.items() if not name.startswith("weights_")}
    by_dtype = weights.bytes_by_dtype(root, told.get("torch_dtype") or told.get("dtype") or "")
    if by_dtype:
        told |= {"weights_bytes": sum(by_dtype.values()), "weights_by_dtype": by_dtype}
        if unusual := weights.told(root):
            told["weights_from"] = unusual
    return told


_GGUF: Final = (
    "the folder holds GGUF files only, which vLLM does not serve from a folder: use the model's safetensors files"
)


def _something_else(root: Path) -> str:
    """What the folder is instead of a model, in words; empty where nothing is recognised."""
    if (root / "adapter_config.json").is_file():
        return "the folder holds a LoRA adapter, not a model: serve its base model, or merge the two"
    if _has(root, "*.gguf"):
        return _GGUF
    if (root / "model_index.json").is_file():
        return "the folder holds a diffusion pipeline, not a language model"
    if _has(root, "*.safetensors", "*.bin", "*.pt"):
        return f"the folder has weight files but no {CONFIG}: download the model's small files too"
    return ""


def _has(root: Path, *patterns: str) -> bool:
    return any(next(root.glob(pattern), None) is not None for pattern in patterns)
