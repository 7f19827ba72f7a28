"""The exact words and variables an engine is started with."""

import sys
from dataclasses import replace
from typing import Any

from models_app.engines.command import Launch, LaunchSpec, build

OURS = {
    "PATH": "/usr/bin",
    "HF_TOKEN": "hf_x",
    "NCCL_DEBUG": "WARN",
    "SARDEENZ_SECRET_KEY": "s",
    "SARDEENZ_DATABASE_URL": "postgresql://x",
    "DATABASE_URL": "postgresql://x",
    "DJANGO_SETTINGS_MODULE": "sardeenz.settings",
    "VLLM_USE_V1": "0",
    "KVCACHED_IPC_NAME": "foreign",
    "CUDA_VISIBLE_DEVICES": "7",
    "PYTHONPATH": "/ours",
    "VIRTUAL_ENV": "/ours/.venv",
}
SPEC = LaunchSpec(
    kind="vllm-cuda",
    executable="/opt/vllm/bin/vllm",
    version="0.30.0",
    kvcached=True,
    model_source="/models/llama-8b",
    revision="",
    served_name="llama-8b",
    deployment_name="llama-8b",
    extra_args=(),
    environment={},
    max_model_len=None,
    tensor_parallel=1,
    sleep_enabled=True,
    kv_cap_bytes=None,
    weights_bytes=None,
    overhead_bytes=None,
    gpu_uuids=("GPU-a",),
    host="127.0.0.1",
    port=18100,
    api_key="engine-key",
    ipc_name="srdz_ab12_1_1",
    marker="ab12:1:1",
    simulated_dir="/data/simulated",
    segment_dir="/dev/shm",
    simulated_gpus="2x80GiB",
    node="here",
    inherited=OURS,
)


def launch(**changes: Any) -> Launch:
    """A launch that differs from the plain one."""
    return build(replace(SPEC, **changes))


def value_of(argv: list[str], flag: str) -> str:
    """The word after a flag."""
    return argv[argv.index(flag) + 1]


def test_a_plain_engine_is_started_with_these_words() -> None:
    assert launch().argv == [
        *("/opt/vllm/bin/vllm", "serve", "/models/llama-8b", "--host", "127.0.0.1", "--port", "18100"),
        *("--served-model-name", "llama-8b", "--shutdown-timeout", "10", "--disable-uvicorn-access-log"),
        "--enable-prompt-tokens-details",
        "--enable-sleep-mode",
    ]


def test_every_wish_becomes_a_flag() -> None:
    argv = launch(
        revision="main", max_model_len=8192, tensor_parallel=2, kv_cap_bytes=2**30, gpu_uuids=("GPU-a", "GPU-b")
    ).argv
    assert value_of(argv, "--revision") == "main"
    assert value_of(argv, "--max-model-len") == "8192"
    assert value_of(argv, "--tensor-parallel-size") == "2"
    assert value_of(argv, "--kv-cache-memory-bytes") == str(2**30)


def test_an_engine_answers_to_its_served_name_and_to_its_deployments() -> None:
    argv = launch(served_name="meta/llama", deployment_name="llama-8b").argv
    at = argv.index("--served-model-name")
    assert argv[at + 1 : at + 3] == ["meta/llama", "llama-8b"]


def test_extra_args_come_last_in_their_order_and_unchanged() -> None:
    extra = ["--max-num-seqs", "8", "--load-format=dummy", "--hf-overrides", '{"a": 1}', "--max-num-seqs", "9"]
    assert launch(extra_args=extra).argv[-len(extra) :] == extra


def test_without_sleep_there_is_no_sleep_allocator() -> None:
    assert "--enable-sleep-mode" not in launch(sleep_enabled=False).argv


def test_usage_is_not_forced_on_streams_that_did_not_ask() -> None:
    assert not [word for word in launch().argv if "usage" in word]


def test_an_engine_on_a_cpu_is_one_process_without_sleep_and_kvcached() -> None:
    made = launch(kind="vllm-cpu", kv_cap_bytes=2**25)
    assert "--enable-sleep-mode" not in made.argv
    assert value_of(made.argv, "--distributed-executor-backend") == "uni"
    assert value_of(made.argv, "--kv-cache-memory-bytes") == str(2**25)
    assert made.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert made.environment["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert made.environment["OMP_NUM_THREADS"] == "1"
    assert not [name for name in made.environment if "KVCACHED" in name]


def test_a_cpu_engine_without_a_cap_claims_little() -> None:
    assert int(value_of(launch(kind="vllm-cpu").argv, "--kv-cache-memory-bytes")) <= 2**30


def test_the_simulator_runs_in_our_own_python_with_its_sizes() -> None:
    made = launch(kind="simulator", executable="", weights_bytes=5, overhead_bytes=0)
    assert made.argv[:4] == [sys.executable, "-m", "models_app.engines.simulator", "serve"]
    assert value_of(made.argv, "--weights-bytes") == "5"
    assert value_of(made.argv, "--overhead-bytes") == "0"
    assert made.environment["SARDEENZ_SIMULATED_DIR"] == "/data/simulated"
    assert made.environment["SARDEENZ_SIMULATED_GPUS"] == "2x80GiB"
    assert made.environment["SARDEENZ_NODE"] == "here"
    assert made.environment["ENABLE_KVCACHED"] == "true"


def test_an_engine_gets_nothing_of_ours_but_the_whitelist() -> None:
    assert launch().environment == {
        "PATH": "/usr/bin",
        "HF_TOKEN": "hf_x",
        "NCCL_DEBUG": "WARN",
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_API_KEY": "engine-key",
        "SARDEENZ_REPLICA": "ab12:1:1",
        "SARDEENZ_ENGINE_URL": "http://127.0.0.1:18100",
        "CUDA_VISIBLE_DEVICES": "GPU-a",
        "ENABLE_KVCACHED": "true",
        "KVCACHED_AUTOPATCH": "1",
        "KVCACHED_IPC_NAME": "srdz_ab12_1_1",
        "KVCACHED_PAGE_PREALLOC_ENABLED": "true",
        "KVCACHED_CONTIGUOUS_LAYOUT": "false",
        "KVCACHED_MIN_RESERVED_PAGES": "1",
        "KVCACHED_MAX_RESERVED_PAGES": "2",
    }


def test_the_engines_key_is_not_on_the_command_line() -> None:
    assert "engine-key" not in " ".join(launch().argv)


def test_an_operators_variables_tune_but_do_not_take_over() -> None:
    wishes = {
        "KVCACHED_CONTIGUOUS_LAYOUT": "true",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        "KVCACHED_IPC_NAME": "mine",
        "CUDA_VISIBLE_DEVICES": "0",
        "SARDEENZ_REPLICA": "x",
        "VLLM_API_KEY": "known",
    }
    variables = launch(environment=wishes).environment
    assert (variables["KVCACHED_CONTIGUOUS_LAYOUT"], variables["VLLM_LOGGING_LEVEL"]) == ("true", "DEBUG")
    assert variables["KVCACHED_IPC_NAME"] == "srdz_ab12_1_1"
    assert variables["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert variables["SARDEENZ_REPLICA"] == "ab12:1:1"
    assert variables["VLLM_API_KEY"] == "engine-key"


def test_a_runtime_without_kvcached_has_none_of_it() -> None:
    assert not [name for name in launch(kvcached=False).environment if "KVCACHED" in name]


def test_a_vllm_kvcached_does_not_know_runs_without_it() -> None:
    assert "ENABLE_KVCACHED" not in launch(version="0.32.0").environment


def test_vllm_0_26_is_held_to_the_first_model_runner() -> None:
    assert launch(version="0.26.0").environment["VLLM_USE_V2_MODEL_RUNNER"] == "0"
    assert "VLLM_USE_V2_MODEL_RUNNER" not in launch(version="0.26.0", kvcached=False).environment


def test_a_vllm_that_knows_no_shutdown_timeout_is_not_given_one() -> None:
    assert "--shutdown-timeout" not in launch(version="0.17.1").argv
    assert "--shutdown-timeout" in launch(version="0.18.0").argv
    assert "--shutdown-timeout" in launch(version="").argv


def test_a_vllm_that_cannot_read_uuids_gets_indices_in_the_drivers_order() -> None:
    variables = launch(version="0.20.1", gpu_indices=(3, 4), gpu_uuids=("GPU-a", "GPU-b")).environment
    assert (variables["CUDA_DEVICE_ORDER"], variables["CUDA_VISIBLE_DEVICES"]) == ("PCI_BUS_ID", "3,4")
    assert launch(version="0.26.0", gpu_indices=(3,)).environment["CUDA_VISIBLE_DEVICES"] == "GPU-a"
