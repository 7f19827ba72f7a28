"""A folder is looked at, file by file, before anything is promised for it; what is wrong is said in words."""

import json
from pathlib import Path
from typing import Any

import pytest

from models_app.catalogue import folder as models
from models_app.catalogue.reading import Unusable
from models_app.memory import estimate
from tests.models_app.catalogue.folders import LLAMA, folder, weights

MIB = 2**20
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 4976698672\n"


def shards(count: int, of: int = 0) -> dict[str, int]:
    return {f"model-{number:05}-of-{of or count:05}": MIB for number in range(1, count + 1)}


def named(*files: str, **metadata: object) -> dict[str, Any]:
    return {"metadata": metadata, "weight_map": {f"w{place}": name for place, name in enumerate(files)}}


def test_the_index_decides_which_files_count_and_not_how_large_they_are(tmp_path: Path) -> None:
    index = named("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", total_size=47 * 2**30)
    root = folder(tmp_path, LLAMA, index=index, **shards(2), other=MIB)
    assert models.facts(root)["weights_bytes"] == 2 * MIB


@pytest.mark.parametrize("index", [{"metadata": None, "weight_map": {"w": "model.safetensors"}}, {"weight_map": {}}])
def test_an_index_that_says_little_is_no_obstacle(tmp_path: Path, index: object) -> None:
    assert models.facts(folder(tmp_path, LLAMA, index=index, model=MIB))["weights_bytes"] == MIB


@pytest.mark.parametrize("index", [[], 7, "text", None])
def test_an_index_of_another_type_is_told(tmp_path: Path, index: object) -> None:
    root = folder(tmp_path, LLAMA, model=MIB)
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Unusable, match=r"model\.safetensors\.index\.json cannot be read: it is not a JSON object"):
        models.facts(root)


def test_the_index_of_another_copy_is_told(tmp_path: Path) -> None:
    index = named(*(f"model-{number:05}-of-00010.safetensors" for number in range(1, 11)), total_size=47 * 2**30)
    root = folder(tmp_path, LLAMA, index=index, **shards(4))
    with pytest.raises(Unusable, match=r"names files that are not there \(model-00001-of-00010.* and 9 more\)"):
        models.facts(root)


@pytest.mark.parametrize("with_index", [True, False])
def test_a_missing_shard_is_found_with_and_without_an_index(tmp_path: Path, with_index: bool) -> None:
    index = named(*(f"model-{number:05}-of-00003.safetensors" for number in range(1, 4))) if with_index else None
    root = folder(tmp_path, LLAMA, index=index, **shards(2, of=3))
    with pytest.raises(Unusable, match=r"1 of 3 weight files are missing: model-00003-of-00003\.safetensors"):
        models.facts(root)


def test_an_index_without_any_file_is_a_download_that_did_not_happen(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="2 of 2 weight files are missing"):
        models.facts(folder(tmp_path, LLAMA, index=named("a.safetensors", "b.safetensors")))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "is a Git LFS pointer"),
        (b"", "is empty"),
        (b"<html><body>404</body></html>", "is not a safetensors file"),
    ],
)
def test_what_lies_there_instead_of_weights_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    root = folder(tmp_path, LLAMA)
    (root / "model.safetensors").write_bytes(content)
    with pytest.raises(Unusable, match=rf"model\.safetensors {words}"):
        models.facts(root)


@pytest.mark.parametrize(("short", "words"), [(1, "is not complete"), (MIB, "is not complete"), (-1, "is damaged")])
def test_a_file_must_be_as_long_as_its_header_says(tmp_path: Path, short: int, words: str) -> None:
    root = folder(tmp_path, LLAMA)
    weights(root / "model.safetensors", MIB, short=short)
    with pytest.raises(Unusable, match=words):
        models.facts(root)


def test_a_dangling_link_is_a_missing_file(tmp_path: Path) -> None:
    root = folder(tmp_path, LLAMA)
    (root / "model.safetensors").symlink_to(tmp_path / "blobs" / "gone")
    with pytest.raises(Unusable, match="is a link to a file that is not there"):
        models.facts(root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER.decode(), "Git LFS pointer"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "not a JSON object"),
        ("", "it is not JSON"),
    ],
)
def test_a_config_that_is_none_is_told(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(Unusable, match=rf"config\.json .*{words}"):
        models.facts(folder(tmp_path, content, model=MIB))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "holds a LoRA adapter"),
        (["model-Q4_K_M.gguf"], "GGUF files only"),
        (["config.json", "model-Q4_K_M.gguf"], "GGUF files only"),
        (["model_index.json"], "diffusion pipeline"),
        (["model.safetensors"], "weight files but no config.json"),
        (["README.md"], "neither config.json nor params.json"),
    ],
)
def test_what_is_no_model_is_told_apart(tmp_path: Path, files: list[str], words: str) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(Unusable, match=words):
        models.facts(tmp_path)


def test_pickled_weights_count_with_their_files_in_the_configs_dtype(tmp_path: Path) -> None:
    root = folder(tmp_path, LLAMA | {"torch_dtype": "float32"})
    (root / "pytorch_model.bin").write_bytes(b"PK" + bytes(998))
    (root / "training_args.bin").write_bytes(bytes(50))
    assert models.facts(root)["weights_by_dtype"] == {"F32": 1000}


def test_of_a_model_stored_twice_the_consolidated_files_are_loaded(tmp_path: Path) -> None:
    """As vLLM 0.30 does with `--load-format auto`."""
    assert models.facts(folder(tmp_path, LLAMA, model=MIB, consolidated=3 * MIB))["weights_bytes"] == 3 * MIB


def test_mistrals_own_format_is_read(tmp_path: Path) -> None:
    params = {"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "head_dim": 128, "vocab_size": 32768}
    (tmp_path / "params.json").write_text(json.dumps(params | {"hidden_dim": 14336, "sliding_window": [4096, None]}))
    weights(tmp_path / "consolidated.safetensors", MIB)
    told = models.facts(tmp_path)
    assert (told["num_hidden_layers"], told["num_key_value_heads"], told["weights_bytes"]) == (32, 8, MIB)
    assert told["format"] == "mistral"


def test_a_config_cannot_say_how_large_the_weights_are(tmp_path: Path) -> None:
    told = models.facts(folder(tmp_path, LLAMA | {"weights_bytes": 5, "weights_by_dtype": {"F32": "many"}}))
    assert "weights_bytes" not in told
    assert "weights_by_dtype" not in told


def test_what_is_unusual_about_weights_is_told_with_their_size(tmp_path: Path) -> None:
    plain = folder(tmp_path / "plain", LLAMA, model=MIB)
    assert "weights_from" not in models.facts(plain)
    twice = folder(tmp_path / "twice", LLAMA, model=MIB, consolidated=MIB)
    assert models.facts(twice)["weights_from"] == (
        "the headers of the consolidated files; the same weights lie there a second time, which is not loaded"
    )
    pickled = folder(tmp_path / "pickled", LLAMA)
    (pickled / "pytorch_model.bin").write_bytes(b"x" * MIB)
    told = models.facts(pickled)
    assert told["weights_from"].startswith("the sizes of pickled files (.bin)")
    found = estimate.estimate(told)
    assert found is not None
    assert found.sources["weights"] == told["weights_from"]
