"""Atomic file writes: the target is the old file or the new one, whatever fails."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ordinary_user import needs_permissions

from vae_anomaly.exceptions import OutputError
from vae_anomaly.storage.atomic import STALE_SECONDS, atomic_write, check_writable


def temporary_files(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(".tmp"))


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    return path


def test_the_target_appears_complete_after_the_with_block(tmp_path):
    path = tmp_path / "new.txt"
    with atomic_write(path, "w", encoding="utf-8", newline="") as file:
        file.write("né\n")
        file.flush()
        assert not path.exists()
        assert len(temporary_files(tmp_path)) == 1
        assert temporary_files(tmp_path)[0].startswith(".new.txt.")
    assert path.read_bytes() == "né\n".encode()
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_after_an_exception_only_the_old_file_is_there(target, error):
    with pytest.raises(error), atomic_write(target) as file:  # noqa: PT012
        file.write(b"partial")
        raise error
    assert target.read_bytes() == b"old"
    assert temporary_files(target.parent) == []


def test_the_new_file_keeps_the_permissions_of_the_old_one(target):
    target.chmod(0o640)
    with atomic_write(target) as file:
        file.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "new") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_symbolic_links_are_followed(target):
    link = target.with_name("link.csv")
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("missing/out.csv", errno.ENOENT, "there is no directory '{folder}/missing'. Create it"),
        ("old/out.csv", errno.ENOTDIR, "'{folder}/old' is not a directory"),
        ("folder", errno.EISDIR, "it is a directory. Name a file."),
        ("x" * 300, errno.ENAMETOOLONG, "its name is too long. Choose a shorter one."),
    ],
)
@pytest.mark.parametrize("write", [True, False])
def test_the_error_of_an_unwritable_path_states_the_reason(tmp_path, path, code, reason, write):
    (tmp_path / "old").write_text("")
    (tmp_path / "folder").mkdir()
    attempt = atomic_write(tmp_path / path).__enter__ if write else check_writable
    with pytest.raises(OutputError) as caught:
        attempt(*([] if write else [tmp_path / path]))
    assert caught.value.errno == code
    assert str(caught.value).startswith(f"Cannot write {tmp_path / path}: ")
    assert reason.format(folder=tmp_path) in str(caught.value)


@needs_permissions
def test_no_permission(target):
    target.chmod(0o400)
    with pytest.raises(OutputError, match="the file is write-protected"):
        check_writable(target)
    target.parent.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="no permission to write in"):
            check_writable(target.with_name("new.csv"))
    finally:
        target.parent.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_device():
    with (
        pytest.raises(OutputError, match="the disk is full") as caught,
        atomic_write("/dev/full") as file,
    ):
        file.write(b"x")
    assert caught.value.errno == errno.ENOSPC


def test_devices_are_written_and_not_replaced():
    with atomic_write(os.devnull) as file:
        file.write(b"x")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_an_error_about_another_file_is_not_converted(target):
    with pytest.raises(FileNotFoundError), atomic_write(target) as file:  # noqa: PT012
        file.write(b"partial")
        (target.parent / "input.csv").read_bytes()
    assert target.read_bytes() == b"old"


def test_check_writable_changes_nothing(target):
    check_writable(target)
    check_writable(target.with_name("new.csv"))
    assert [p.name for p in target.parent.iterdir()] == ["out.csv"]
    assert target.read_bytes() == b"old"


class Faults:
    """Make the k-th of the patched system calls fail."""

    def __init__(self, monkeypatch, k, error):
        self.left, self.error, self.failed = k, error, None
        for name in ("open", "fsync", "replace"):
            monkeypatch.setattr(os, name, self.failing(name, getattr(os, name)))

    def failing(self, name, call):
        def wrapped(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                self.failed = name
                raise self.error
            return call(*args, **kwargs)

        return wrapped


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(code, os.strerror(code)) for code in (errno.ENOSPC, errno.EIO, errno.EROFS)),
        KeyboardInterrupt(),
        MemoryError(),
    ],
    ids=repr,
)
def test_the_target_is_old_or_new_for_every_failing_call(target, monkeypatch, error):
    for k in range(1, 50):
        target.write_bytes(b"old")
        outcome = None
        with monkeypatch.context() as patch:
            faults = Faults(patch, k, error)
            try:
                with atomic_write(target) as file:
                    file.write(b"new")
            except (OutputError, KeyboardInterrupt, MemoryError) as raised:
                outcome = raised
        if isinstance(error, OSError):  # None: the sync of the directory, which may fail
            assert getattr(outcome, "errno", error.errno) == error.errno
        if outcome is not None:
            assert target.read_bytes() == b"old" or isinstance(
                error, KeyboardInterrupt | MemoryError
            )
        assert target.read_bytes() in (b"old", b"new")
        assert temporary_files(target.parent) == []
        if faults.failed is None:
            break
    assert target.read_bytes() == b"new"
    assert k > 3


def stale(target, seconds=0):
    path = target.with_name(f".{target.name}.0123456789abcdef.tmp")
    path.write_bytes(b"partial")
    modified = time.time() - seconds
    os.utime(path, (modified, modified))
    return path


def test_the_next_writer_removes_stale_temporary_files(target):
    other_target = target.with_name(".other.csv.0123456789abcdef.tmp")
    other_name = target.with_name(".out.csv.notes.tmp")
    other_target.write_text("")
    other_name.write_text("")
    temporary = stale(target)
    with atomic_write(target) as file:
        file.write(b"new")
    assert not temporary.exists()
    assert other_target.exists()
    assert other_name.exists()


def test_the_temporary_file_of_an_active_writer_is_kept(target):
    with atomic_write(target) as first:
        first.write(b"first")
        with atomic_write(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first"


def test_without_locks_files_are_stale_by_age(target, monkeypatch):
    monkeypatch.setattr("vae_anomaly.storage.atomic.fcntl", None)
    young = stale(target, seconds=60)
    with atomic_write(target) as file:
        file.write(b"new")
    assert young.exists()
    old = stale(target, seconds=STALE_SECONDS + 60)
    with atomic_write(target) as file:
        file.write(b"newer")
    assert not old.exists()
    assert target.read_bytes() == b"newer"


def test_a_process_killed_while_writing_leaves_the_old_file(target):
    code = (
        "import sys, time\n"
        "from vae_anomaly.storage.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'partial'); file.flush(); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert target.read_bytes() == b"old"
    assert len(temporary_files(target.parent)) == 1
    with atomic_write(target) as file:
        file.write(b"new")
    assert temporary_files(target.parent) == []
