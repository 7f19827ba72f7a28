"""Which of vLLM's flags an operator may not pass, however they are written."""

from pathlib import Path

import pytest

from models_app.engines.command import check_extra_args
from models_app.engines.reserved import FLAGS, SHORT, reserved_flag
from sardeenz.errors import InvalidSpec

EVERY_FLAG = Path(__file__).with_name("vllm_0_30_flags.txt").read_text().split()


@pytest.mark.parametrize(
    ("arg", "flag"),
    [
        ("--port", "--port"),
        ("--port=1", "--port"),
        ("--por", "--port"),
        ("--tensor-parallel", "--tensor-parallel-size"),
        ("--tensor_parallel_size=2", "--tensor-parallel-size"),
        ("-tp", "--tensor-parallel-size"),
        ("-tp=2", "--tensor-parallel-size"),
        ("-t", "--tensor-parallel-size"),
        ("-n2", "--nnodes"),
        ("--no-enable-sleep-mode", "--enable-sleep-mode"),
        ("--no-enable-sleep", "--enable-sleep-mode"),
        ("--kv-cache-memory", "--kv-cache-memory-bytes"),
        ("--config=x.yaml", "--config"),
        ("--model.a=1", "--model"),
        ("--ssl-key", "--ssl-keyfile"),
        ("--hf-token=hf_x", "--hf-token"),
        ("--", "--host"),
    ],
)
def test_a_reserved_flag_is_refused_however_it_is_written(arg: str, flag: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_extra_args(["--max-num-seqs", "4", arg], "vllm-cuda")
    assert caught.value.fields["field"] == "extra_args"
    assert FLAGS[flag] in caught.value.message
    assert reserved_flag(arg) == flag


def test_of_vllms_own_flags_only_the_reserved_ones_are_refused() -> None:
    refused = {flag for flag in EVERY_FLAG if reserved_flag(flag)}
    negated = {"--no-enable-sleep-mode", "--no-disable-uvicorn-access-log"}
    assert refused == FLAGS.keys() | SHORT.keys() | negated


@pytest.mark.parametrize(
    "args",
    [
        ["--max-num-seqs", "8"],
        ["--seed", "-1"],
        ["--config-format", "hf", "--model-impl=vllm", "--kv-cache-dtype", "fp8"],
        ["--gpu-memory-utilization", "0.5", "-q", "awq", "-O3"],
        ["--hf-overrides", '{"--port": 1}'],
        ["--no-enable-prefix-caching"],
        ["--enable-request-id-headers", "--allowed-origins", '["*"]'],
        ["--distributed-executor-backend", "ray"],
    ],
)
def test_other_flags_and_any_value_pass(args: list[str]) -> None:
    check_extra_args(args, "vllm-cuda")


def test_on_a_cpu_the_executor_is_ours_too() -> None:
    with pytest.raises(InvalidSpec, match="one process"):
        check_extra_args(["--distributed-executor", "mp"], "vllm-cpu")


@pytest.mark.parametrize("arg", ["", "a\0b"])
def test_what_no_command_line_can_hold_is_refused(arg: str) -> None:
    with pytest.raises(InvalidSpec):
        check_extra_args([arg], "simulator")


def test_the_message_names_what_the_abbreviation_stands_for() -> None:
    with pytest.raises(InvalidSpec, match=r"--por \(vLLM may read it as --port\) is reserved"):
        check_extra_args(["--por=1"], "vllm-cuda")
