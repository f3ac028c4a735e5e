from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.ledger.journal import Journal
from gw.ledger.row import Asked, Row, encode
from gw.ledger.spool import boots, framed, is_alive, segments, unframed, used_bytes
from gw.ledger.tail import Tail

from .records import MEBIBYTE, asked, row, wait_until, write

SEGMENT = 64 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems may not be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def rows_of(spool: Path) -> list[str]:
    """The ids of all rows, read once, and removed from the spool like the recorder does."""
    found = []
    for boot in boots(spool):
        tail = Tail(boot, reject=_no_reject)
        while pending := tail.read(1000):
            for one in pending:
                found.append(one.row.id)
                tail.settled(one)
        tail.clean()
    return found


def _no_reject(line: bytes) -> None:
    raise AssertionError(line)


def test_records_are_read_as_they_were_written_over_many_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 64 * MEBIBYTE, segment_bytes=SEGMENT, patience=10)
    names = [f"n{number}" for number in range(2000)]
    write(journal, *(row(name, savings=[["limits", 3, None]]) for name in names))
    (boot,) = boots(tmp_path)
    assert len(segments(boot)) > 3
    found = [pending.row for pending in Tail(boot, _no_reject).read(10_000)]
    assert found == [row(name, savings=[["limits", 3, None]]) for name in names]
    journal.close()


def test_a_worker_is_alive_until_its_journal_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, MEBIBYTE)
    (boot,) = boots(tmp_path)
    assert is_alive(boot)
    journal.close()
    assert not is_alive(boot)


def test_a_closed_journal_takes_no_more_room_than_its_records(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 64 * MEBIBYTE)
    write(journal, row("a"))
    assert used_bytes(tmp_path) > 100_000
    journal.close()
    assert used_bytes(tmp_path) == len(framed(encode(row("a"))))


def test_nobody_else_may_read_the_spool(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "spool", MEBIBYTE)
    for path in [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    journal.close()


def test_all_workers_together_keep_to_the_bound(tmp_path: Path) -> None:
    workers = [Journal(tmp_path, 10 * SEGMENT, segment_bytes=SEGMENT, retry_seconds=0.02) for _ in range(3)]
    for number in range(3000):
        write(workers[number % 3], row(f"n{number}"))
        assert used_bytes(tmp_path) <= 11 * SEGMENT  # one that was made too much is removed at once
    wait_until(lambda: used_bytes(tmp_path) <= 10 * SEGMENT)
    for worker in workers:
        worker.close()


def test_a_full_spool_asks_for_refusals_before_a_record_is_lost_and_loses_none_when_it_has_room_again(
    tmp_path: Path,
) -> None:
    journal = Journal(
        tmp_path, 2 * SEGMENT, segment_bytes=SEGMENT, memory_bytes=SEGMENT, retry_seconds=0.02, patience=0.02
    )
    names: list[str] = []
    while not journal.full:
        names.append(f"n{len(names)}")
        write(journal, row(names[-1]))
        assert len(names) < 10_000
    # Requests that run have room for their rows, as many as before.
    for number in range(50):
        names.append(f"running{number}")
        write(journal, row(names[-1]))
    assert journal.lost == 0
    found: list[str] = []

    def recorded() -> bool:
        found.extend(name for name in rows_of(tmp_path) if name not in found)
        return not journal.full and len(found) >= len(names)

    wait_until(recorded)
    assert found == names
    write(journal, row("afterwards"))
    assert "afterwards" in rows_of(tmp_path)
    journal.close()


def test_a_full_disk_loses_no_row_as_long_as_there_is_memory(small_disk: Path) -> None:
    spool = small_disk / "spool"
    journal = Journal(spool, 64 * MEBIBYTE, retry_seconds=0.02, patience=0.02)
    names = [f"n{number}" for number in range(12_000)]  # 3 MB
    write(journal, *(row(name) for name in names))
    assert (journal.full, journal.lost) == (False, 0)
    found: list[str] = []

    def recorded() -> bool:
        found.extend(name for name in rows_of(spool) if name not in seen)
        seen.update(found)
        return len(found) >= len(names)

    seen: set[str] = set()
    wait_until(recorded)
    assert found == names
    journal.close()


def test_segments_are_small_where_the_disk_is(small_disk: Path) -> None:
    (small_disk / "other").write_bytes(bytes(MEBIBYTE))
    journal = Journal(small_disk / "spool", 256 * MEBIBYTE)
    (boot,) = boots(small_disk / "spool")
    (segment,) = segments(boot)
    assert SEGMENT <= segment.stat().st_size <= MEBIBYTE
    write(journal, row("a"))
    assert rows_of(small_disk / "spool") == ["a"]
    journal.close()


def test_a_broken_disk_is_tried_again_until_it_is_mended(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.write_text("a file where the folder should be")
    journal = Journal(spool, MEBIBYTE, retry_seconds=0.02)
    write(journal, row("a"), row("b"))
    spool.unlink()
    found: list[str] = []

    def recorded() -> bool:
        found.extend(rows_of(spool))
        return len(found) > 0

    wait_until(recorded)
    assert found == ["a", "b"]
    journal.close()


def test_records_without_a_place_are_counted_where_the_recorder_sees_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, MEBIBYTE)
    assert not journal.write(encode(row("a", route_reason="x" * 100_000)))
    assert journal.lost == 1
    (boot,) = boots(tmp_path)
    wait_until(lambda: (boot / "alive").read_bytes() == b"1")
    write(journal, row("b"))
    assert rows_of(tmp_path) == ["b"]
    journal.close()


def test_what_waits_in_memory_is_not_lost_when_a_gateway_with_a_full_spool_stops(tmp_path: Path) -> None:
    bound = 2 * SEGMENT
    journal = Journal(tmp_path, bound, segment_bytes=SEGMENT, memory_bytes=SEGMENT, patience=0.02)
    names: list[str] = []
    while not journal.full:
        names.append(f"n{len(names)}")
        write(journal, row(names[-1]))
        assert len(names) < 10_000
    assert used_bytes(tmp_path) <= bound
    journal.close()
    assert (journal.lost, journal.in_memory[0]) == (0, 0)
    assert used_bytes(tmp_path) <= 2 * bound
    assert rows_of(tmp_path) == names


def test_gateways_that_stop_with_a_full_spool_fill_no_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bound, lost = 2 * SEGMENT, 0
    for _ in range(5):
        journal = Journal(tmp_path, bound, segment_bytes=SEGMENT, memory_bytes=2 * SEGMENT, patience=0.02)
        while not journal.full:
            write(journal, row("n"))
        journal.close()
        assert used_bytes(tmp_path) <= 2 * bound
        lost = journal.lost
    assert lost > 0
    assert f"{lost} usage records are lost" in caplog.text


def test_memory_has_an_end_too(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "spool", MEBIBYTE, memory_bytes=10_000)
    taken = [journal.write(encode(row(f"n{number}"))) for number in range(100)]
    assert taken == sorted(taken, reverse=True)
    assert 0 < journal.lost == taken.count(False) < 100
    journal.close()
    assert journal.lost == 100


def test_what_a_living_worker_is_about_to_write_is_waited_for(tmp_path: Path) -> None:
    journal = Journal(tmp_path, MEBIBYTE)
    write(journal, row("a"))
    (boot,) = boots(tmp_path)
    (segment,) = segments(boot)
    line = framed(encode(row("b")))
    start = len(framed(encode(row("a"))))
    tail = Tail(boot, _no_reject)
    with segment.open("r+b", buffering=0) as file:
        # A copy that has not come to its end, and one whose end is there before its middle.
        for half in (line[:50], line[:50] + bytes(len(line) - 60) + line[-10:]):
            os.pwrite(file.fileno(), half, start)
            tail.read(10)
            assert tail.read(10) == []
        os.pwrite(file.fileno(), line, start)
    assert [pending.row for pending in tail.read(10)] == [row("b")]
    journal.close()


RECORDS: list[Asked | Row] = [
    asked("a"),
    row("a"),
    asked("b", stream=False),
    row("c", error_code="€"),
    row("d"),
]
WHOLE = b"".join(framed(encode(record)) for record in RECORDS)
ROWS = {record.id: record for record in RECORDS if isinstance(record, Row)}


@given(
    flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), max_size=4),
    cut=st.integers(0, len(WHOLE)) | st.just(len(WHOLE)),
    holes=st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 40)), max_size=2),
    zeros=st.sampled_from([0, 1, 5000, 200_000]),
)
def test_no_damage_raises_or_makes_a_wrong_row(
    tmp_path_factory: pytest.TempPathFactory,
    flips: list[tuple[int, int]],
    cut: int,
    holes: list[tuple[int, int]],
    zeros: int,
) -> None:
    content = bytearray(WHOLE)
    for place, bits in flips:
        content[place] ^= bits
    for place, length in holes:
        content[place : place + length] = bytes(len(content[place : place + length]))
    boot = tmp_path_factory.mktemp("boot")
    (boot / "000001.journal").write_bytes(content[:cut] + bytes(zeros))
    rejected: list[bytes] = []
    tail = Tail(boot, rejected.append)
    found = [pending for _ in range(3) for pending in tail.read(2)]
    for pending in found:
        if pending.row.aborted == "killed":
            assert pending.row.id in ("a", "b")
        else:
            assert pending.row == ROWS[pending.row.id]
        tail.settled(pending)
    unharmed = bytes(content) == WHOLE and cut == len(WHOLE)
    if unharmed:
        assert [pending.row.id for pending in found] == ["a", "c", "d", "b"]
        assert not rejected
    tail.clean()
    assert tail.removed


@given(st.binary(max_size=200))
def test_a_line_is_told_from_what_is_none(data: bytes) -> None:
    assert unframed(framed(data.replace(b"\n", b""))) == data.replace(b"\n", b"")
    assert unframed(data) is None or framed(unframed(data) or b"").rstrip(b"\n") == data.rstrip(b"\n")
