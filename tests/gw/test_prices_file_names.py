"""A price that nobody would ever pay is a mistake in the file, and the gateway does not start with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.backing import problems
from gw.doctor import examine
from gw.prices import PriceBook, PricesError
from gw.prices.overrides import Override, read
from gw.settings import load

KEY = "k" * 32


def _entry(provider: str = "anthropic", model: str = "claude-opus-5-5", **more: Any) -> dict[str, Any]:
    return {"provider": provider, "model": model, "usd_per_mtok": {"input": 7, "output": 11}, **more}


def _file(folder: Path, *entries: Any) -> Path:
    path = folder / "prices.json"
    path.write_bytes(orjson.dumps({"prices": entries}))
    return path


def _problems(folder: Path, *entries: Any) -> list[str]:
    path = _file(folder, *entries)
    try:
        PriceBook(path, {"lm_studio": "http://localhost:1234/v1", "groq": None})
    except PricesError as error:
        found = error.problems
    else:
        return []
    start = f"PRICES_FILE='{path}': "
    assert all(problem.startswith(start) for problem in found)
    return [problem.removeprefix(start) for problem in found]


@pytest.mark.parametrize(
    "name", ["anthropic", "bedrock", "vertex", "ollama", "simulated", "lm_studio", "groq", "*"]
)
def test_every_provider_that_there_is_can_have_prices(tmp_path: Path, name: str) -> None:
    assert _problems(tmp_path, _entry(name)) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [("antropic", "anthropic"), ("Anthropic", "anthropic"), ("lm-studio", "lm_studio"), ("openai", None)],
)
def test_a_provider_that_there_is_not_is_named_with_its_entry_and_the_fix(
    tmp_path: Path, name: str, meant: str | None
) -> None:
    (problem,) = _problems(tmp_path, _entry(), _entry(name, "m"))
    assert problem.startswith(f"prices[1].provider is '{name}', and there is no such provider.")
    assert (f"Did you mean '{meant}'?" in problem) if meant else ("Did you mean" not in problem)
    assert 'Known: anthropic, bedrock, groq, lm_studio, ollama, simulated, vertex and "*"' in problem
    assert "OPENAI_COMPATIBLE_<NAME>_BASE_URL" in problem


@pytest.mark.parametrize("same", ["claude-opus-5-5", "Claude-OPUS-5-5", " claude-opus-5-5 "])
def test_an_entry_that_is_there_twice_is_refused_however_it_is_written(tmp_path: Path, same: str) -> None:
    (problem,) = _problems(tmp_path, _entry(), _entry(model="claude-haiku-5-5"), _entry(model=same))
    assert problem.startswith("prices[0] (anthropic 'claude-opus-5-5') never holds: ")
    assert "it is there once more as prices[2]. Remove one of the two" in problem


@pytest.mark.parametrize(
    ("above", "below"),
    [
        (_entry(**{"from": "2026-12-01"}), _entry()),  # the newest first
        (_entry(), _entry(model="claude-*")),
        (_entry(model="claude-opus-*"), _entry(model="CLAUDE-*")),
        (_entry(), _entry("*")),
        (_entry("groq", "*"), _entry("*", "*")),
    ],
)
def test_an_entry_that_another_one_always_stands_in_for_is_refused(
    tmp_path: Path, above: Any, below: Any
) -> None:
    (problem,) = _problems(tmp_path, above, below)
    assert problem.startswith("prices[0] (")
    assert "prices[1] (" in problem
    assert problem.endswith("or put the one that is for fewer models, or begins later, below the other.")
    assert _problems(tmp_path, below, above) == [], "the other way round both of them hold"


@pytest.mark.parametrize(
    ("above", "below"),
    [
        (_entry(), _entry(**{"from": "2026-12-01"})),
        (_entry(), _entry("groq")),
        (_entry("*"), _entry("groq")),
        (_entry(model="a*c"), _entry(model="abc")),
    ],
)
def test_what_has_a_day_or_a_caller_of_its_own_is_no_repetition(
    tmp_path: Path, above: Any, below: Any
) -> None:
    assert _problems(tmp_path, above, below) == []


_NAMES = st.text("ab*", min_size=1, max_size=3)
_ENTRIES = st.lists(
    st.tuples(st.sampled_from(["anthropic", "groq", "*"]), _NAMES, st.integers(0, 2)), max_size=4
)


@given(_ENTRIES)
def test_what_is_refused_never_holds_and_what_holds_is_not_refused(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str, int]]
) -> None:
    def day(number: int) -> date:
        return date(2026, 1, 1) + timedelta(days=number)

    found = _problems(
        tmp_path_factory.mktemp("any"),
        *(
            _entry(provider, model, **{"from": day(begins).isoformat()})
            for provider, model, begins in entries
        ),
    )
    refused = {int(number) for problem in found for number in re.findall(r"\Aprices\[(\d+)\]", problem)}
    # "x" stands for any letter that no entry names; names as long as theirs and longer.
    letters = ["", *"abx"]
    models = {a + b + c + d for a in letters for b in letters for c in letters for d in letters} - {""}
    holds = set()
    for provider in ("anthropic", "groq", "else"):
        for model in models:
            for number in range(3):
                matching = [
                    index
                    for index, (whose, pattern, begins) in enumerate(entries)
                    if whose in (provider, "*") and begins <= number and fnmatchcase(model, pattern)
                ]
                holds.update(matching[-1:])
    assert not refused & holds
    # Several together may cover what none of them covers alone, which is not looked for.
    for index in set(range(len(entries))) - holds - refused:
        assert len(entries) - index > 2


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b'{"prices": [], "prices": []}', "the file.prices"),
        (b'{"prices": [{"provider": "groq", "provider": "*", "model": "m", "usd_per_mtok": %s}]}', None),
        (
            b'{"prices": [{"provider": "*", "model": "m", "usd_per_mtok": {"input": 1, "input": 2, '
            b'"output": 3}}]}',
            "prices[0].usd_per_mtok.input",
        ),
    ],
)
def test_a_field_that_is_there_twice_is_refused(tmp_path: Path, raw: bytes, place: str | None) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(raw.replace(b"%s", b'{"input": 1, "output": 2}'))
    with pytest.raises(PricesError) as caught:
        read(path, {"groq"})
    (problem,) = caught.value.problems
    assert f": {place or 'prices[0].provider'} is there twice: remove one of them." in problem


def test_a_long_list_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    covers = Override.covers

    def counted(self: Override, *args: Any) -> bool:
        nonlocal looked
        looked += 1
        return covers(self, *args)

    path = _file(tmp_path, *(_entry(model=f"model-{number}") for number in range(5_000)))
    monkeypatch.setattr(Override, "covers", counted)
    assert len(read(path, {"anthropic"})) == 5_000
    assert looked < 10_000


@pytest.mark.parametrize("more", [{}, {"LEDGER_ENABLED": "0"}])
def test_a_start_is_refused_by_what_the_settings_name(tmp_path: Path, more: dict[str, str]) -> None:
    path = _file(tmp_path, _entry("groq", "llama"))
    environ = {"GATEWAY_API_KEY": KEY, "PRICES_FILE": str(path), "DATA_DIR": str(tmp_path), **more}
    (problem,) = problems(load(environ))
    assert problem.startswith(f"PRICES_FILE='{path}': prices[0].provider is 'groq'")
    named = {**environ, "OPENAI_COMPATIBLE_GROQ_BASE_URL": "https://api.groq.com/openai/v1"}
    assert problems(load(named)) == []


def test_gw_serve_does_not_start_with_prices_that_nobody_would_pay(tmp_path: Path) -> None:
    path = _file(tmp_path, _entry("antropic"))
    environ = {"PATH": os.environ["PATH"], "GATEWAY_API_KEY": KEY, "DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "gw", "serve"],
        env={**environ, "PRICES_FILE": str(path), "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert f"PRICES_FILE='{path}': prices[0].provider is 'antropic'" in done.stderr


def test_the_doctor_names_what_is_wrong_with_the_prices(tmp_path: Path) -> None:
    path = _file(tmp_path, _entry(), _entry())
    environ = {"GATEWAY_API_KEY": KEY, "PRICES_FILE": str(path), "LEDGER_ENABLED": "0"}
    (section,) = examine(environ, only=["settings"]).sections
    (failed,) = (finding for finding in section.findings if finding.status == "fail")
    assert f"PRICES_FILE='{path}': prices[0] (anthropic 'claude-opus-5-5') never holds" in failed.text
    assert "docs/prices.md" in failed.fix
