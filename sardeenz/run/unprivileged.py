"""Run a program that refuses to be root, although we are root: `python -m sardeenz.run.unprivileged PROGRAM ...`.

Two ways, tried in this order; an ordinary user needs neither:

1. A user namespace that shows root as `nobody`. Files stay root's and every path root can reach stays reachable.
2. Really becoming `nobody`, where namespaces are forbidden (some containers). The program's files then have to be
   nobody's, and its paths open to everybody: `owner` and `blocked_by` help with that.

The process is replaced, so its pid and the signals sent to it are the program's own.
"""

import ctypes
import os
import pwd
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_USER = "nobody"
_PROBE = "--probe-namespace"


class CannotDropRoot(RuntimeError):
    """Root can neither be hidden in a user namespace nor given up."""


@cache
def way() -> str:
    """How a program is kept from running as root here: "none" (needless), "namespace" or "setuid"."""
    if os.geteuid() != 0:
        return "none"
    probe = [sys.executable, "-S", __file__, _PROBE]
    answered = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return "namespace" if answered.returncode == 0 else "setuid"


def command(argv: list[str]) -> list[str]:
    """The command that runs `argv` without being root."""
    return argv if way() == "none" else [sys.executable, "-S", __file__, way(), *argv]


def owner() -> tuple[int, int] | None:
    """The user and group its files must belong to, or None when they stay ours."""
    return _ids() if way() == "setuid" else None


def blocked_by(path: Path) -> Path | None:
    """The first folder above `path` (or `path` itself) that `nobody` may not enter, when that matters."""
    if owner() is None:
        return None
    for folder in [*reversed(path.parents), path]:
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH and folder.stat().st_uid != _ids()[0]:
            return folder
    return None


def _ids() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(_USER)
    except KeyError:
        raise CannotDropRoot(
            f"PostgreSQL refuses to run as root and there is no user {_USER!r} to run it as: "
            "run as an ordinary user, or set SARDEENZ_DATABASE_URL"
        ) from None
    return entry.pw_uid, entry.pw_gid


def _enter_namespace() -> None:
    uid, gid = _ids()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "a user namespace was refused")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} 0 1")
    Path("/proc/self/gid_map").write_text(f"{gid} 0 1")


def _give_up_root() -> None:
    uid, gid = _ids()
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(arguments: list[str]) -> None:
    """Become unprivileged in the way named first, then become the program named after it."""
    if arguments == [_PROBE]:
        return _enter_namespace()
    (_enter_namespace if arguments[0] == "namespace" else _give_up_root)()
    os.execv(arguments[1], arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
