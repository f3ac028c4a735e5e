"""The recorder's word of itself: whole whenever it is read, and new also where the disk has no room left."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from gw.ledger.process import RecorderProcess
from gw.ledger.spool import STATUS
from gw.ledger.status import SLOT, Status, read_status, write_status
from gw.observability.ledger import state_of
from tests.e2e.gateway import KEY, ROOT

from . import test_journal
from .records import wait_until

small_disk = test_journal.small_disk


def filled(disk: Path) -> Path:
    """Leave no byte for a new file."""
    with suppress(OSError), (disk / "other").open("wb", buffering=0) as other:
        while True:
            other.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        (disk / "more").write_bytes(b"x")
    return disk


def in_turn(spool: Path, count: int) -> Iterator[Status]:
    """Statuses that are told one after the other, and differ in every field."""
    for number in range(count):
        error = f"Error{number}" if number % 2 else None
        status = Status(number + 0.5, number * 2.0, number, number**3, number, number, number, error)
        write_status(spool, status)
        yield status


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    for status in in_turn(tmp_path, 5):
        assert read_status(tmp_path) == status
    assert stat.S_IMODE((tmp_path / STATUS).stat().st_mode) == 0o600


def test_it_counts_what_was_said_last_also_when_clocks_are_set_back(tmp_path: Path) -> None:
    for at in (2000.0, 1000.0, 1500.0):
        write_status(tmp_path, Status(at=at))
        assert read_status(tmp_path) == Status(at=at)


def test_a_full_disk_keeps_nobody_from_saying_how_he_is(small_disk: Path) -> None:
    write_status(small_disk, Status(at=1.0))
    filled(small_disk)
    for status in in_turn(small_disk, 5):
        assert read_status(small_disk) == status


def test_a_disk_that_was_full_before_takes_the_first_word_when_it_has_room(small_disk: Path) -> None:
    filled(small_disk)
    write_status(small_disk, Status(at=1.0))
    assert read_status(small_disk) is None
    (small_disk / "other").unlink()
    write_status(small_disk, Status(at=2.0))
    assert read_status(small_disk) == Status(at=2.0)


def test_a_recorder_on_a_full_disk_is_not_taken_for_one_that_is_gone(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DATA_DIR": small_disk, "GATEWAY_API_KEY": KEY, "PYTHONPATH": ROOT}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("DATABASE_URL", "ENABLE_MULTI_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    spool = small_disk / "spool"
    recorder = RecorderProcess()
    recorder.start()
    try:
        wait_until(lambda: read_status(spool) is not None)
        filled(small_disk)
        full_at = time.time()

        def told() -> bool:
            status = read_status(spool)
            assert state_of(status, time.time()) == "ok"
            return status is not None and status.at > full_at

        wait_until(told)
    finally:
        recorder.stop()


def test_half_of_it_is_never_taken_for_whole(tmp_path: Path) -> None:
    """Whatever has been written of the new one when it is read, or when the power fails."""
    path = tmp_path / STATUS
    told = [(status, path.read_bytes()) for status in in_turn(tmp_path, 4)]
    for (before, old), (after, new) in pairwise(told):
        cuts = [at for at in range(2 * SLOT) if old[at] != new[at]]
        assert len(cuts) > 10
        for cut in cuts:
            for torn in (new[:cut] + old[cut:], old[:cut] + new[cut:]):
                path.write_bytes(torn)
                assert read_status(tmp_path) in (before, after)


def test_a_reader_beside_the_writer_sees_whole_ones_and_none_is_missing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from gw.ledger.status import Status, write_status\n"
        "for n in range(20_000): write_status(Path(sys.argv[1]), Status(float(n), n, n, n, n, n, n, str(n)))"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT) as writer:
        wait_until(lambda: read_status(tmp_path) is not None)
        last = -1.0
        while writer.poll() is None:
            status = read_status(tmp_path)
            assert status is not None
            n = int(status.at)
            assert status == Status(float(n), n, n, n, n, n, n, str(n))
            assert status.at >= last
            last = status.at
    assert writer.returncode == 0


@pytest.mark.parametrize("content", [b"", b"{", b'{"at": 1.0}', bytes(2 * SLOT), b"x" * 5000])
def test_a_file_of_somebody_elses_is_none_and_is_written_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATUS).write_bytes(content)
    assert read_status(tmp_path) is None
    for status in in_turn(tmp_path, 3):
        assert read_status(tmp_path) == status
