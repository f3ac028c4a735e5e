"""The commands in the documentation do what is written beside them: run in a shell against a real gateway."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gw.cli import parser
from gw.cli._bill import Bill, as_text
from gw.store.reports import Money, Usage
from tests.e2e.gateway import ADMIN_KEY, KEY, ROOT, Gateway, clean_environment, running_gateway

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"gw (usage|projects|keys|migrate) |gw usage$|curl |export ENABLE_MULTI_PROJECT")
#: What an argument of a command in running text stands for; such commands are only parsed.
_INLINE = re.compile(r"`(gw (?:usage|projects|keys|migrate)[^`]*)`")


def commands(page: str) -> list[str]:
    found = [
        line.removeprefix("$ ").partition("  #")[0].strip()
        for block in _BLOCK.findall((ROOT / page).read_text())
        for line in block.splitlines()
        if line.startswith("$ ") and _COMMAND.match(line.removeprefix("$ "))
    ]
    assert found
    return found


def shell(script: str, gateway: Gateway, data: Path) -> str:
    """What ``script`` prints; it ends with the first command that fails."""
    done = subprocess.run(
        ["bash", "-euc", f'gw() {{ "{sys.executable}" -m gw "$@"; }}\n{script}'],
        cwd=data.parent,
        env=clean_environment(
            PYTHONPATH=str(ROOT),
            GATEWAY_API_KEY=KEY,
            ADMIN_API_KEY=ADMIN_KEY,
            DATA_DIR=str(data),
            GATEWAY=gateway.base_url,
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/ledger.md", "docs/projects.md"])
def test_the_commands_of_a_page_work_as_printed(page: str, tmp_path: Path) -> None:
    script = "\n".join(line.replace("curl ", "curl -sSf ") for line in commands(page))
    if "ENABLE_MULTI_PROJECT" not in script:
        script = "export ENABLE_MULTI_PROJECT=1\n" + script
    settings = {"LEDGER_ENABLED": "1", "ENABLE_MULTI_PROJECT": "1", "ADMIN_API_KEY": ADMIN_KEY}
    with running_gateway(GATEWAY_API_KEY=KEY, DATA_DIR=str(tmp_path / "data"), **settings) as gateway:
        said = shell(script, gateway, tmp_path / "data")
    if "gw keys create" in script:
        assert "A key of project research: " in said
        assert "Keep it now: it is stored nowhere, and never shown again." in (
            (ROOT / "docs/projects.md").read_text()
        )
        assert "Keep it now: it is stored nowhere, and never shown again.\n\n  gw_" in said
    if "curl" in script:
        assert '"rows":' in said


@pytest.mark.parametrize("page", ["README.md", "docs/ledger.md", "docs/projects.md", "docs/deploy.md"])
def test_the_commands_in_running_text_can_be_typed(page: str) -> None:
    for command in _INLINE.findall((ROOT / page).read_text()):
        words = command.split()[1:]
        if len(words) > 1 or words[0] in ("usage", "migrate"):
            parser().parse_args(words)


def test_the_columns_of_the_bill_are_the_documented_ones() -> None:
    values: dict[str, Any] = dict.fromkeys(Usage.__dataclass_fields__, 0)
    values |= {"group": ("acme", "claude-opus-5-5"), "requests": 5, "input_tokens": 45, "output_tokens": 250}
    cost = Money(5_180_000, 0)
    row = Usage(**{**values, "cost": cost, "counterfactual": cost, "saved": ()})
    months = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    shown = as_text(Bill(*months, ("project", "model"), (row,), ())).splitlines()
    page = (ROOT / "docs/ledger.md").read_text()
    for line in (shown[0], *shown[2:5]):
        assert line in page
