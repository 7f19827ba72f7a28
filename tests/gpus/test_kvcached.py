"""The segment's layout is kvcached's, and nobody can hang or mislead us through it."""

import fcntl
import struct
import uuid
from pathlib import Path

import pytest

from gpus import kvcached
from gpus.errors import SegmentBusy, SegmentMissing
from gpus.kvcached import Segment


def test_a_segment_is_three_little_endian_words(tmp_path: Path) -> None:
    (tmp_path / "srdz_a").write_bytes(struct.pack("<qqq", 30, 20, 10))
    assert kvcached.read(tmp_path, "srdz_a") == Segment("srdz_a", limit_bytes=30, used_bytes=20, prealloc_bytes=10)


def test_a_created_segment_holds_nothing_yet(tmp_path: Path) -> None:
    kvcached.create(tmp_path, "srdz_a", 100)
    assert (tmp_path / "srdz_a").read_bytes() == struct.pack("<qqq", 100, 0, 0)


def test_the_limit_changes_without_touching_what_the_engine_wrote(tmp_path: Path) -> None:
    kvcached.create(tmp_path, "srdz_a", 100)
    kvcached.write(tmp_path, "srdz_a", used_bytes=60, prealloc_bytes=5)
    kvcached.set_limit(tmp_path, "srdz_a", 50)
    kvcached.write(tmp_path, "srdz_a", prealloc_bytes=6)
    segment = kvcached.read(tmp_path, "srdz_a")
    assert segment == Segment("srdz_a", 50, 60, 6)
    assert segment.shrinking
    assert segment.mapped_bytes == 66


@pytest.mark.parametrize("limit_bytes", [0, -1])
def test_a_limit_that_kvcached_would_ignore_is_refused(tmp_path: Path, limit_bytes: int) -> None:
    kvcached.create(tmp_path, "srdz_a", 100)
    with pytest.raises(ValueError, match="ignores"):
        kvcached.set_limit(tmp_path, "srdz_a", limit_bytes)


def test_a_missing_segment_reads_as_none_and_cannot_be_limited(tmp_path: Path) -> None:
    assert kvcached.read(tmp_path, "srdz_a") is None
    assert kvcached.read_all(tmp_path / "nowhere") == []
    with pytest.raises(SegmentMissing) as caught:
        kvcached.set_limit(tmp_path, "srdz_a", 1)
    assert caught.value.fields == {"ipc_name": "srdz_a"}


@pytest.mark.parametrize("size", [0, 23, 25, 4096])
def test_a_file_of_another_size_is_not_a_segment(tmp_path: Path, size: int) -> None:
    (tmp_path / "srdz_a").write_bytes(b"x" * size)
    assert kvcached.read(tmp_path, "srdz_a") is None
    with pytest.raises(SegmentMissing):
        kvcached.set_limit(tmp_path, "srdz_a", 1)
    assert (tmp_path / "srdz_a").stat().st_size == size


def test_only_our_names_are_listed(tmp_path: Path) -> None:
    for name in ("srdz_b", "srdz_a", "kvcached_vLLM_7", "srdz_x.tmp"):
        (tmp_path / name).write_bytes(bytes(24))
    assert [segment.ipc_name for segment in kvcached.read_all(tmp_path)] == ["srdz_a", "srdz_b"]


@pytest.mark.parametrize("name", ["", "../etc", "a/b", "a" * 65, "a b"])
def test_a_name_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not the name"):
        kvcached.sweep(tmp_path, name)


def test_an_engine_stopped_with_the_lock_does_not_stop_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvcached, "_WRITE_LOCK_SECONDS", 0.05)
    kvcached.create(tmp_path, "srdz_a", 100)
    with (tmp_path / "srdz_a").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert kvcached.read(tmp_path, "srdz_a") == Segment("srdz_a", 100, 0, 0)
        with pytest.raises(SegmentBusy):
            kvcached.set_limit(tmp_path, "srdz_a", 1)
    kvcached.set_limit(tmp_path, "srdz_a", 1)


def test_sweep_removes_the_segment_and_the_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvcached, "SOCKET_ROOT", tmp_path / "tmp")
    sockets = tmp_path / "tmp" / f"kvcached-tp-srdz_a-{uuid.uuid5(uuid.NAMESPACE_DNS, 'srdz_a').hex[:8]}"
    (sockets / "pp1").mkdir(parents=True)
    (sockets / "pp1" / "w0.sock").touch()
    kvcached.create(tmp_path, "srdz_a", 100)
    kvcached.create(tmp_path, "srdz_ab", 100)
    kvcached.sweep(tmp_path, "srdz_a")
    kvcached.sweep(tmp_path, "srdz_a")
    assert not sockets.exists()
    assert [segment.ipc_name for segment in kvcached.read_all(tmp_path)] == ["srdz_ab"]
