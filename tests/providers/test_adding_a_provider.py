"""docs/adding-a-provider.md shows what is really there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-provider.md").read_text()
FOLDER = ROOT / "providers" / "claude_cloud"


def test_the_example_has_fewer_than_230_lines() -> None:
    lines = [line for file in FOLDER.glob("*.py") for line in file.read_text().splitlines()]
    assert len([line for line in lines if line.strip()]) < 230


def test_the_code_shown_is_the_code_that_runs() -> None:
    sources = [file.read_text() for file in (*FOLDER.glob("*.py"), ROOT / "tests/providers/subjects.py")]
    shown = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(shown) == 4
    for excerpt in shown:
        assert any(excerpt in source for source in sources), excerpt


def test_every_file_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`((?:providers|gw|tests|perf)/[a-z_/]+\.py)`", PAGE))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).is_file()] == []
