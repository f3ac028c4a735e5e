"""A worker that writes until it is killed: ``python -m tests.ledger.writer SPOOL SEGMENT_BYTES NAME``.

It says on standard output which of its records have been taken. Every tenth request never ends.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from gw.ledger.journal import Journal
from gw.ledger.row import Asked, encode, killed


def main(spool: str, segment_bytes: str, name: str) -> None:
    journal = Journal(Path(spool), 64 * 2**20, segment_bytes=int(segment_bytes), patience=10)
    for number in itertools.count():
        asked = Asked(f"{name}-{number}", 1.0, "r", "p", "k", "chat", "s", "m", "anthropic", True, 1, number)
        slot = journal.begin(encode(asked))
        os.write(1, f"asked {asked.id}\n".encode())
        if number % 10 == 0:
            continue  # under way for as long as the worker lives, and after 1,024 of them in the log
        if journal.write(encode(killed(asked)._replace(aborted=""))):
            os.write(1, f"row {asked.id}\n".encode())
        if slot >= 0:
            journal.end(slot)


if __name__ == "__main__":
    main(*sys.argv[1:])
