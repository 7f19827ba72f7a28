"""Flags of an engine that are Sardeenz's own, and what an operator does instead. Pure.

argparse takes any unambiguous beginning of a flag for the flag, vLLM takes `_` for `-` and `--flag.key` for a JSON
value of `--flag`, and every boolean has a `--no-` twin: all of these are refused alike.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from sardeenz.errors import InvalidSpec

CUDA, CPU, SIMULATOR = "vllm-cuda", "vllm-cpu", "simulator"

_LISTEN = "Sardeenz chooses where engines listen"
_ONE_NODE = "an engine runs on the GPUs it was placed on; use tensor parallel and replicas"
_PLAIN = "engines listen on private addresses, in plain HTTP"

FLAGS: Final = {
    "--host": _LISTEN,
    "--port": _LISTEN,
    "--uds": _LISTEN,
    "--grpc": "the gateway speaks HTTP to engines",
    "--headless": "an engine without an API server cannot be routed to",
    "--config": "a file could set any of the reserved flags; write its flags into the extra arguments",
    "--model": "it is the deployment's model",
    "--revision": "set it on the model",
    "--served-model-name": "set the served name",
    "--max-model-len": "set the longest context",
    "--api-key": "every engine gets a key of its own",
    "--hf-token": "every user of the host can read a command line; set HF_TOKEN in the runtime's environment",
    "--tensor-parallel-size": "set tensor parallel",
    "--pipeline-parallel-size": _ONE_NODE,
    "--data-parallel-size": _ONE_NODE,
    "--data-parallel-size-local": _ONE_NODE,
    "--data-parallel-rank": _ONE_NODE,
    "--data-parallel-start-rank": _ONE_NODE,
    "--nnodes": _ONE_NODE,
    "--node-rank": _ONE_NODE,
    "--device-ids": _ONE_NODE,
    "--enable-sleep-mode": "set whether it may sleep",
    "--kv-cache-memory-bytes": "set the KV cap",
    "--shutdown-timeout": "Sardeenz drains and stops engines itself",
    "--disable-log-stats": "without statistics nothing can be drained or shown",
    "--disable-uvicorn-access-log": "Sardeenz sets it: the gateway keeps the record of requests",
    "--root-path": "the gateway knows the engine's paths",
    "--middleware": "it would run foreign code on the request path",
    "--ssl-keyfile": _PLAIN,
    "--ssl-certfile": _PLAIN,
    "--ssl-ca-certs": _PLAIN,
    "--ssl-cert-reqs": _PLAIN,
    "--ssl-ciphers": _PLAIN,
}
"""Reserved flag: what to do instead."""

SHORT: Final = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-dpl": "--data-parallel-size-local",
    "-dpn": "--data-parallel-rank",
    "-dpr": "--data-parallel-start-rank",
    "-n": "--nnodes",
    "-r": "--node-rank",
}
CPU_FLAGS: Final = {"--distributed-executor-backend": "on a CPU an engine is one process"}


def check_extra_args(args: Sequence[str], kind: str = CUDA) -> None:
    """Refuse flags that are Sardeenz's own, abbreviated or negated ones too. Raises InvalidSpec naming the flag."""
    for arg in args:
        if not arg or "\0" in arg:
            raise InvalidSpec("every extra argument must be a non-empty text", field="extra_args")
        flag = reserved_flag(arg, FLAGS | CPU_FLAGS if kind == CPU else FLAGS)
        if flag is None:
            continue
        given = arg.partition("=")[0]
        meant = "" if given == flag else f" (vLLM may read it as {flag})"
        fix = FLAGS.get(flag) or CPU_FLAGS[flag]
        raise InvalidSpec(f"{given}{meant} is reserved: {fix}", field="extra_args", flag=given)


def reserved_flag(arg: str, flags: Mapping[str, str] = FLAGS) -> str | None:
    """The reserved flag that vLLM's argparse might take `arg` for, or None."""
    name = arg.partition("=")[0]
    if not name.startswith("--"):
        return _reserved_short(name)
    name = name.partition(".")[0].replace("_", "-")
    if name.startswith("--no-"):
        name = f"--{name.removeprefix('--no-')}"
    if name in flags:
        return name
    return next((flag for flag in flags if flag.startswith(name)), None)


def _reserved_short(name: str) -> str | None:
    """`-tp`, its beginnings, and `-n2`: argparse joins a one-letter flag with its value."""
    if name in SHORT:
        return SHORT[name]
    if len(name) < 2 or not name.startswith("-"):
        return None
    if name[:2] in SHORT:
        return SHORT[name[:2]]
    return next((flag for short, flag in SHORT.items() if short.startswith(name)), None)
