"""`gw …` in this process, on a database of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gw.cli import main
from gw.settings import Ledger
from tests.databases import environment_of

KEY = "cli-client-key-0123456789abcdef"
PEPPER = "a-pepper-of-the-tests-0123456789"


@dataclass
class Done:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Gw = Callable[..., Done]


@pytest.fixture
def gw(
    database: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Gw:
    """Runs a command on ``database``; settings given by name are for it alone."""
    monkeypatch.chdir(tmp_path)  # no stray .env
    settings = {"GATEWAY_API_KEY": KEY, "ENABLE_MULTI_PROJECT": "1", "KEY_PEPPER": PEPPER}

    def run(*arguments: str, **more: str) -> Done:
        with monkeypatch.context() as environment:
            for name, value in {**settings, **environment_of(database), **more}.items():
                environment.setenv(name, value)
            capsys.readouterr()
            code = main(arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Done(code, said.out, said.err)

    return run
