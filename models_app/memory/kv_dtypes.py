"""Bytes of an entry of KV memory by `--kv-cache-dtype`, as the engine's version knows it. Pure."""

from fractions import Fraction
from typing import Any, Final

from models_app.catalogue.layers import INDEX_SCALE_BYTES, Role, Store

_NATIVE: Final = {"float16": 2, "half": 2, "bfloat16": 2, "float32": 4}
_EIGHT_BITS: Final = ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc")
_LATENTS: Final = {"fp8_ds_mla": {Role.LATENT: 656, Role.LATENT_V4: 584}, "nvfp4_ds_mla": {Role.LATENT: 352}}
"""Bytes of a whole entry in a format that is made for one width of latent vector."""
_SCALED: Final = {"int8_per_token_head": 8, "fp8_per_token_head": 8, "int4_per_token_head": 4}
_SCALE_BYTES: Final = 4
_TURBO: Final = {
    "turboquant_k8v4": (8, 4),
    "turboquant_4bit_nc": (4, 4),
    "turboquant_k3v4_nc": (3, 4),
    "turboquant_3bit_nc": (3, 3),
}
_FOUR_BITS: Final = ("nvfp4", "nvfp4_4over6")
_SINCE_030: Final = (*_SCALED, *_TURBO, *_FOUR_BITS, "nvfp4_ds_mla")


def unknown(name: str, version: str = "") -> str:
    """Why an entry's size cannot be told for this dtype and engine version; empty where it can."""
    if name == "auto" or name in _NATIVE or name in _EIGHT_BITS or name in ("fp8_ds_mla", *_SINCE_030):
        if name in _SINCE_030 and version and _release(version) < (0, 30):
            return f"the KV cache dtype {name} is not known of vLLM {version}"
        return ""
    return f"the KV cache dtype {name[:40]} is not known here"


def chosen(flag: str, facts: dict[str, Any]) -> str:
    """The dtype that holds: the flag's, else what a quantised model's own config asks for."""
    if flag and flag != "auto":
        return flag
    quantised = facts.get("quantization_config")
    if not isinstance(quantised, dict):
        return "auto"
    inner = quantised.get("quantization")
    for told in (inner if isinstance(inner, dict) else {}, quantised):
        scheme = told.get("kv_cache_scheme") or told.get("kv_cache_quant_algo")
        if isinstance(scheme, dict) and scheme.get("type") == "float":
            if scheme.get("num_bits") == 8 and scheme.get("dynamic") is False:
                return "fp8"
            if scheme.get("num_bits") == 4:
                return "nvfp4"
        if isinstance(scheme, str) and scheme.lower() in ("fp8", "nvfp4"):
            return scheme.lower()
    return "auto"


def entry_bytes(store: Store, dtype: str, width: int) -> Fraction:
    """Bytes of one entry of one head; `width` is the engine's own for an element."""
    if store.role in (Role.INDEX, Role.INDEX_V4):
        narrow = store.role == Role.INDEX or dtype not in ("auto", *_NATIVE)
        return Fraction(store.key + INDEX_SCALE_BYTES if narrow else store.key * width)
    if dtype in _LATENTS:
        whole = _LATENTS[dtype].get(store.role)
        return Fraction(whole or store.key + store.value)
    if dtype in _SCALED:
        return Fraction((store.key + store.value) * _SCALED[dtype], 8) + 2 * _SCALE_BYTES
    if dtype in _FOUR_BITS:
        return Fraction(sum(each // 2 + each // 16 for each in (store.key, store.value)))
    if dtype in _TURBO:
        return Fraction(_turbo(store, *_TURBO[dtype]))
    if dtype in _EIGHT_BITS:
        return Fraction(store.key + store.value)
    return Fraction((store.key + store.value) * _NATIVE.get(dtype, width))


def _turbo(store: Store, key_bits: int, value_bits: int) -> int:
    """A key with its norm (none in 8 bits), a value with scale and zero, an even number of bytes together."""
    key = store.key if key_bits == 8 else -(-store.key * key_bits // 8) + 2
    whole = key - (-store.value * value_bits // 8) + 4
    return whole + whole % 2


def _release(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())
