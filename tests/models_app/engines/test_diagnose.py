"""Why engines fail, from the ends of real logs."""

import signal

import pytest

from models_app.engines.diagnose import RULES, diagnose

CORE = "(EngineCore pid=71) "
INIT_FAILED = (
    "(APIServer pid=9) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
)
CASES = [
    (
        "gpu_out_of_memory",
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 112.00 MiB. GPU 0 has a total capacity of "
            "79.11 GiB of which 62.38 MiB is free. Including non-PyTorch memory, this process has 79.04 GiB in use."
        ),
        "The GPU ran out of memory: 112.00 MiB more were needed, 62.38 MiB were free.",
    ),
    (
        "gpu_out_of_memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 0.50 GiB free.",
        "The GPU ran out of memory: 2.00 GiB more were needed, 0.50 GiB were free.",
    ),
    ("gpu_out_of_memory", "RuntimeError: CUDA error: out of memory", "The GPU ran out of memory."),
    (
        "gpu_memory_short",
        (
            "ValueError: Free memory on device cuda:0 (9.1/79.1 GiB) on startup is less than desired GPU memory "
            "utilization (0.92, 72.77 GiB). Decrease GPU memory utilization or reduce GPU memory used by others."
        ),
        "Only 9.1 of 79.1 GiB of the GPU were free; without kvcached the engine claims a fixed 0.92.",
    ),
    (
        "sleep_raced",
        "AssertionError: Memory usage increased after sleeping.",
        "A neighbour took memory of the GPU while the engine fell asleep, which vLLM treats as fatal.",
    ),
    (
        "kvcached_unsupported",
        "kvcached.errors.KVCachedConfigError: no runner adapter for vLLM 0.31.0",
        "kvcached refused this engine: no runner adapter for vLLM 0.31.0.",
    ),
    (
        "kvcached_broken",
        (
            "[kvcached][ERROR][2026-11-27 10:16:11][patch_base.py:168] Unexpected error applying engine_core: "
            "load_lib_module() got an unexpected keyword argument 'extra_lib_paths'"
        ),
        (
            "kvcached could not take hold of vLLM, for an import failed: load_lib_module() got an unexpected keyword "
            "argument 'extra_lib_paths'."
        ),
    ),
    (
        "kvcached_missing",
        "[kvcached][WARNING][2026-11-24 10:02:11][patch_base.py:180] Failed to patch vllm: elastic_block_pool",
        "kvcached did not take hold of vLLM: elastic_block_pool.",
    ),
    (
        "kv_cache_too_small",
        (
            "ValueError: To serve at least one request with the model's max seq len (131072), (16.0 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (2.0 GiB). Based on the available memory, "
            "the estimated maximum model length is 16384. Try increasing `gpu_memory_utilization`"
        ),
        "One request of full length (131072 tokens) does not fit in the KV cache; 16384 tokens would.",
    ),
    (
        "kv_cache_too_small",
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "One request of full length does not fit in the KV cache.",
    ),
    (
        "max_model_len_too_long",
        (
            "  Value error, User-specified max_model_len (262144) is greater than the derived max_model_len "
            "(max_position_embeddings=131072 or model_max_length=None in model's config.json)."
        ),
        "The longest context of 262144 tokens is more than the model allows (131072).",
    ),
    (
        "tensor_parallel_invalid",
        "  Value error, Total number of attention heads (28) must be divisible by tensor parallel size (8).",
        "The model's 28 attention heads cannot be divided over 8 GPUs.",
    ),
    (
        "architecture_unsupported",
        "  Value error, Model architectures ['SardineForCausalLM'] are not supported for now. Supported architectures:",
        "This vLLM does not know the model's architecture SardineForCausalLM.",
    ),
    (
        "remote_code_refused",
        "ValueError: The repository x contains custom code. Please pass the argument `trust_remote_code=True`",
        "The model brings Python code of its own, which is not run unless you say so.",
    ),
    (
        "model_gated",
        "OSError: Access to model meta-llama/Llama-3.1-8B is restricted. You must have access to it",
        "The model meta-llama/Llama-3.1-8B may only be downloaded by accounts that were granted access.",
    ),
    (
        "model_gated",
        "huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1)",
        "The model may only be downloaded by accounts that were granted access.",
    ),
    (
        "hub_offline",
        (
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache and "
            "outgoing traffic has been disabled."
        ),
        "The model's files are not on this node, and the hub cannot be asked.",
    ),
    (
        "model_missing",
        "OSError: nemo/nobody is not a local folder and is not a valid model identifier listed on the hub",
        "The model's files were not found.",
    ),
    (
        "model_missing",
        "FileNotFoundError: [Errno 2] No such file or directory: '/models/x/model-00001-of-00004.safetensors'",
        "The model's files were not found: /models/x/model-00001-of-00004.safetensors.",
    ),
    (
        "weights_damaged",
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
        "The model's weight files are incomplete, or do not belong to its config.json.",
    ),
    ("port_taken", "OSError: [Errno 98] Address already in use", "Another program took the engine's port."),
    (
        "driver_mismatch",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).",
        "The runtime's CUDA or torch does not match the driver, the GPU or its own libraries.",
    ),
    (
        "driver_mismatch",
        "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
        "The runtime's CUDA or torch does not match the driver, the GPU or its own libraries (libcudart.so.13).",
    ),
    ("no_gpu", "RuntimeError: No CUDA GPUs are available", "The engine cannot use its GPU."),
    (
        "no_gpu",
        "ValueError: invalid literal for int() with base 10: 'MIG-377e0049-554c-540b-93c6-d0976f8426cb'",
        "The engine cannot use its GPU.",
    ),
    (
        "gpu_failed",
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        "The GPU reported a fault: CUDA error: an illegal memory access.",
    ),
    ("disk_full", "OSError: [Errno 28] No space left on device", "The disk, or shared memory, is full."),
    ("host_out_of_memory", "OSError: [Errno 12] Cannot allocate memory", "The host ran out of RAM."),
    (
        "executable_missing",
        "cannot start /opt/vllm/bin/vllm: No such file or directory",
        "The runtime's executable /opt/vllm/bin/vllm does not exist or cannot be run.",
    ),
    (
        "permission_denied",
        "PermissionError: [Errno 13] Permission denied: '/models/x/config.json'",
        "The engine may not read or write what it needs: /models/x/config.json.",
    ),
    (
        "bad_argument",
        "vllm serve: error: unrecognized arguments: --frobnicate",
        "The engine does not accept its arguments: unrecognized arguments: --frobnicate.",
    ),
    (
        "import_failed",
        "ModuleNotFoundError: No module named 'vllm'",
        "The runtime's environment is broken: No module named 'vllm'.",
    ),
    (
        "engine_core_timeout",
        "TimeoutError: Timed out waiting for engine core processes to start. This is often slow weight loading",
        "The engine's own processes took too long to start.",
    ),
    (
        "engine_part_died",
        (
            "ERROR 11-24 10:00:00 [multiproc_executor.py:315] Worker proc VllmWorker-1 died unexpectedly (exit code: "
            "-9), shutting down executor."
        ),
        "One of the engine's processes died without a word.",
    ),
    ("engine_exception", "AssertionError: page size {0} is odd", "AssertionError: page size {0} is odd"),
]


@pytest.mark.parametrize(("code", "line", "message"), CASES)
def test_a_known_line_is_told_in_words(code: str, line: str, message: str) -> None:
    found = diagnose(["Traceback (most recent call last):", CORE + line, INIT_FAILED], 1)
    assert (found.code, found.message) == (code, message)
    assert found.hint


def test_cause_and_advice_are_two_sentences() -> None:
    own, ours = diagnose(["RuntimeError: it broke"], 1), diagnose(["RuntimeError: No CUDA GPUs are available"], 1)
    assert own.words == "RuntimeError: it broke. The engine's log tells more."
    assert ours.words.startswith("The engine cannot use its GPU. Check nvidia-smi")


def test_every_rule_has_a_case_here() -> None:
    assert {rule.code for rule in RULES} == {case[0] for case in CASES}


@pytest.mark.parametrize(("code", "permanent"), [("gpu_out_of_memory", False), ("architecture_unsupported", True)])
def test_only_what_a_restart_cannot_mend_is_permanent(code: str, permanent: bool) -> None:
    line = next(case[1] for case in CASES if case[0] == code)
    assert diagnose([line], 1).permanent is permanent


def test_the_cause_wins_over_what_follows_from_it() -> None:
    found = diagnose([CORE + "RuntimeError: the cause", INIT_FAILED], 1)
    assert found.message == "RuntimeError: the cause"


def test_a_killed_engine_is_explained_by_its_signal() -> None:
    found = diagnose([CORE + "INFO 11-24 10:00:00 [core.py:1] all is well"], -signal.SIGKILL)
    assert found.code == "engine_killed"
    assert "host RAM" in found.hint


def test_what_an_engine_met_long_before_does_not_explain_its_end() -> None:
    lines = ["torch.OutOfMemoryError: CUDA out of memory."] + ["INFO 11-24 10:00:00 [x.py:1] served"] * 500
    assert diagnose(lines, 1).code == "engine_exited"


def test_a_kill_is_not_explained_by_an_error_the_engine_survived() -> None:
    assert diagnose(["ValueError: a request was wrong"], -signal.SIGKILL).code == "engine_killed"


@pytest.mark.parametrize("exit_code", [-signal.SIGTERM, 128 + signal.SIGTERM])
def test_an_end_that_was_asked_for_says_so(exit_code: int) -> None:
    assert diagnose([], exit_code).code == "engine_terminated"


@pytest.mark.parametrize(("exit_code", "name"), [(-signal.SIGSEGV, "SIGSEGV"), (-47, "signal 47")])
def test_a_crash_names_its_signal(exit_code: int, name: str) -> None:
    found = diagnose([], exit_code)
    assert found.code == "engine_crashed"
    assert name in found.message


@pytest.mark.parametrize(
    ("lines", "exit_code", "words"),
    [([], None, "wrote nothing"), ([], 3, "exit code 3"), ([CORE + "INFO 11-24 10:00:00 [core.py:1] bye"], 0, "bye")],
)
def test_there_is_always_an_answer(lines: list[str], exit_code: int | None, words: str) -> None:
    found = diagnose(lines, exit_code)
    assert found.code == "engine_exited"
    assert words in found.message
