"""The line writer: every line once and in order, whoever reads it, and nobody is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import tempfile
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._lines import LineWriter, Soon

pytestmark = pytest.mark.anyio


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):  # closed by the test
            os.close(fd)


def _is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


async def test_a_lone_line_is_written_at_once_and_a_crowd_travels_together(pipe: tuple[int, int]) -> None:
    write = LineWriter(pipe[1], seconds=0.01)
    for _ in range(2):
        write("lone")
        assert os.read(pipe[0], 1000) == b"lone\n"
        write("one")
        write("two ü")
        assert not _is_readable(pipe[0])
        await asyncio.sleep(0.05)
        assert os.read(pipe[0], 1000).decode() == "one\ntwo ü\n"
        await asyncio.sleep(0.05)


async def test_a_full_batch_is_not_kept_waiting(pipe: tuple[int, int]) -> None:
    write = LineWriter(pipe[1], seconds=60, batch=10)
    write("first")
    assert os.read(pipe[0], 1000) == b"first\n"
    write("0123456789")
    assert not _is_readable(pipe[0])
    write("x")
    assert os.read(pipe[0], 1000) == b"0123456789\nx\n"
    write.close()


def test_without_an_event_loop_a_line_is_written_at_once(pipe: tuple[int, int]) -> None:
    LineWriter(pipe[1])("line")
    assert os.read(pipe[0], 1000) == b"line\n"


async def test_closing_loses_nothing_and_later_lines_are_written_at_once(pipe: tuple[int, int]) -> None:
    write = LineWriter(pipe[1], seconds=60)
    write("first")
    write("before")
    write.close()
    assert os.read(pipe[0], 1000) == b"first\nbefore\n"
    write("after")
    assert os.read(pipe[0], 1000) == b"after\n"


async def test_a_reader_that_stops_holds_nobody_up_and_gets_every_line_later(pipe: tuple[int, int]) -> None:
    lines = [f"{number:06d} " + "x" * 100 for number in range(5000)]  # eight times what a pipe holds
    write = LineWriter(pipe[1], seconds=0.001, batch=1000)
    for line in lines:
        write(line)
    got = bytearray()
    while len(got) < 5000 * 108:
        await asyncio.sleep(0.002)
        while _is_readable(pipe[0]):
            got += os.read(pipe[0], 1 << 20)
    assert got.decode().split("\n") == [*lines, ""]


async def test_closing_waits_for_a_slow_reader(pipe: tuple[int, int]) -> None:
    lines = [f"{number:06d} " + "x" * 100 for number in range(2000)]
    got = bytearray()

    def read() -> None:
        while data := os.read(pipe[0], 5000):
            got.extend(data)

    write = LineWriter(pipe[1], seconds=60)
    for line in lines:
        write(line)
    slow = threading.Thread(target=read)
    slow.start()
    write.close(seconds=30)
    os.close(pipe[1])
    slow.join()
    assert got.decode().split("\n") == [*lines, ""]


async def test_what_nobody_reads_is_bounded_and_its_loss_reported(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    write = LineWriter(pipe[1], seconds=60, batch=1000, keep=200_000)
    for number in range(10_000):
        write(f"{number:06d} " + "x" * 92)
    assert caplog.messages == ["log lines cannot be written and are dropped"]
    write.close(seconds=0)
    os.close(pipe[1])
    got = bytearray()
    while data := os.read(pipe[0], 1 << 20):
        got += data
    whole = got.count(b"\n")
    assert 0 < whole * 100 <= len(got) < 200_000 + (1 << 20)
    assert [int(line[:6]) for line in got.split(b"\n")[:whole]] == list(range(whole))
    assert caplog.messages[1:] == [f"{10_000 - whole} log lines were dropped"]


@pytest.mark.parametrize("end", [0, 1], ids=["reader-gone", "descriptor-closed"])
async def test_a_log_that_is_gone_costs_nothing_but_the_log(
    pipe: tuple[int, int], end: int, caplog: pytest.LogCaptureFixture
) -> None:
    write = LineWriter(pipe[1], batch=0)
    os.close(pipe[end])
    for _ in range(50):
        write("line")
    assert caplog.messages == ["log lines cannot be written and are dropped"]
    write.close()
    assert caplog.messages[1:] == ["50 log lines were dropped"]


async def test_a_non_blocking_descriptor_is_written_like_any_other(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    write = LineWriter(pipe[1], seconds=0.001, batch=0)
    sent = "x" * 300_000
    write(sent)
    got = b""
    while not got.endswith(b"\n"):
        await asyncio.sleep(0.002)
        while _is_readable(pipe[0]):
            got += os.read(pipe[0], 1 << 20)
    assert got.decode() == sent + "\n"


@given(
    st.lists(st.text(st.characters(exclude_characters="\n"), max_size=30), max_size=30), st.integers(0, 80)
)
def test_a_file_holds_every_line_in_order(lines: list[str], batch: int) -> None:
    async def run(fd: int) -> None:
        write = LineWriter(fd, batch=batch)
        for line in lines:
            write(line)
        write.close()

    with tempfile.TemporaryFile() as file:
        asyncio.run(run(file.fileno()))
        file.seek(0)
        expected = "".join(line + "\n" for line in lines)
        assert file.read() == expected.encode("utf-8", "backslashreplace")


def test_work_is_done_once_for_all_who_ask_and_survives_its_event_loop() -> None:
    done: list[str] = []
    soon = Soon(0.01, lambda: done.append("x"))

    async def ask(seconds: float) -> None:
        soon()
        soon()
        await asyncio.sleep(seconds)

    asyncio.run(ask(0.05))
    assert done == ["x"] * 2  # the first call, and all others
    asyncio.run(ask(0))  # closed before the others were heard
    asyncio.run(ask(0.05))
    assert done == ["x"] * 5
