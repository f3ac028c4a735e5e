"""The example of docs/prices.md is one that can be used."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import gw
from gw.prices import PriceBook

DOC = Path(gw.__file__).parents[1] / "docs" / "prices.md"


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", DOC.read_text(), re.DOTALL)
    path = tmp_path / "prices.json"
    path.write_text(example)
    book = PriceBook(path, {"lm_studio": "http://localhost:1234/v1"})
    at = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    rates = book.rates("anthropic", "claude-opus-5-5", at)
    assert rates is not None
    assert rates.cost(1_000, 1_000) == 3_600_000 + 18_000_000
    assert rates.cost(200_001, 0) == 200_001 * 7_200
    own = book.rates("lm_studio", "anything", at)
    assert own is not None
    assert own.cost(1_000, 1_000) == 0
