"""`gw …` whose output nobody reads to its end, or has no room: that is not the database's trouble."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gw.ledger.journal import Journal
from tests.e2e.gateway import KEY, ROOT, clean_environment
from tests.ledger.records import row, write

from .running import gw

#: What a shell says of a tool that SIGPIPE has ended.
NOBODY_READS = 141


def gw_to(output: int, *arguments: str, data: Path, errors: int = subprocess.PIPE) -> tuple[int, str]:
    """The exit code, and what was said on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "gw", *arguments],
        cwd=data.parent,
        env=clean_environment(
            PYTHONPATH=str(ROOT),
            PYTHONUNBUFFERED="",  # as it is for most; without a buffer Python does not write on after a part
            GATEWAY_API_KEY=KEY,
            ENABLE_MULTI_PROJECT="1",
            DATA_DIR=str(data),
        ),
        stdout=output,
        stderr=errors,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr or ""


def pipe_without_a_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    "command",
    [
        *("usage", "usage --json", "usage --csv", "projects list", "keys list --json", "migrate"),
        *("doctor --only limits", "doctor --only limits --json", "serve --check", "--help"),
    ],
)
def test_a_command_whose_reader_has_left_ends_in_silence(command: str, tmp_path: Path) -> None:
    gw("migrate", data=tmp_path / "data")  # says that the database is new
    writer = pipe_without_a_reader()
    assert gw_to(writer, *command.split(), data=tmp_path / "data") == (NOBODY_READS, "")
    os.close(writer)


def test_help_that_nobody_reads_is_no_trouble(tmp_path: Path) -> None:
    writer = pipe_without_a_reader()
    code, errors = gw_to(writer, "serve", "--help", data=tmp_path / "data")
    os.close(writer)
    assert (code in (0, NOBODY_READS), errors) == (True, "")  # argparse may have noticed, and says nothing


def test_a_reader_who_leaves_after_the_first_line_gets_it(tmp_path: Path) -> None:
    for number in range(5):  # more than what a pipe holds, which is 64 KiB
        project = ("projects", "create", f"p{number}", "--system-prefix", "x" * 20_000)
        assert gw(*project, data=tmp_path / "data").returncode == 0
    reader, writer = os.pipe()
    with subprocess.Popen(["head", "-1"], stdin=reader, stdout=subprocess.PIPE, text=True) as head:
        os.close(reader)
        told = gw_to(writer, "projects", "list", "--json", data=tmp_path / "data")
        os.close(writer)
        assert head.communicate()[0] == "[\n"
    assert told == (NOBODY_READS, "")


def test_errors_that_nobody_reads_are_no_errors_of_the_database(tmp_path: Path) -> None:
    writer = pipe_without_a_reader()
    assert gw_to(writer, "usage", data=tmp_path / "data", errors=writer)[0] == NOBODY_READS
    os.close(writer)


def test_an_output_without_room_is_said_to_be_one(tmp_path: Path) -> None:
    gw("migrate", data=tmp_path / "data")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        code, errors = gw_to(full.fileno(), "usage", "--json", data=tmp_path / "data")
    assert (code, errors) == (1, "gw: the output cannot be written: No space left on device.\n")


def test_what_a_bill_leaves_out_is_said_below_it(tmp_path: Path) -> None:
    gw("migrate", data=tmp_path / "data")
    journal = Journal(tmp_path / "data" / "spool", 2**23)
    write(journal, row("one"))
    journal.close()
    reader, writer = os.pipe()
    gw_to(writer, "usage", data=tmp_path / "data", errors=writer)
    os.close(writer)
    with open(reader) as both:  # noqa: PTH123 - a descriptor has no path
        said = both.read()
    assert said.index("No requests.") < said.index("wait in")
