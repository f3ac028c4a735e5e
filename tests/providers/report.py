"""``python -m tests.providers.report``: run the contract, write ``docs/providers.md`` from what it found."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import pytest

from providers.base import Feature

from .contract import CASES, THEMES, OptOut, Subject
from .subjects import SUBJECTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "providers.md"

_INTRODUCTION = """\
# Providers

What each provider of the gateway does, and what it does not. Every line below *Features* is a promise
that a program may rely on, and a case of the contract suite (`tests/providers/contract_*.py`): it is run
against each adapter, which talks over a socket to a strict simulation of its upstream's API, one that
refuses what the real one refuses and fails in scripted ways. *yes* means that the case has passed. A number
leads to the reason why a provider does not keep the promise; what happens instead has been checked too.

This page is written by `python -m tests.providers.report` from a run, never by hand. To add a provider to
it, add a `Subject` to `tests/providers/subjects.py`.
"""

_ABOUT_FEATURES = "What an adapter can do with a model that can; a single model may do less.\n"
_FEATURES: dict[Feature, str] = {
    "tools": "function tools, their results, several calls in one answer",
    "forced_tools": "`tool_choice` required or named is enforced, not only asked for",
    "images": "images as data URIs",
    "documents": "PDFs",
    "schema": "`response_format: json_schema` is enforced",
    "json_object": "`response_format: json_object`",
    "thinking": "`reasoning_content` is shown, `reasoning_effort` has an effect",
    "embeddings": "`/v1/embeddings`",
    "messages": "`/v1/messages` is passed through in Anthropic's own dialect, and translated elsewhere",
    "completions": "`/v1/completions`",
    "signed_thinking": "thinking is signed and taken back, as Claude demands",
}


def render(held: Iterable[tuple[str, str]], features: Mapping[str, frozenset[Feature]]) -> str:
    """The document. ``held`` are the (case, subject) pairs that passed, opted out or not."""
    passed = set(held)
    notes = _Notes()
    declared = [
        (f"`{name}`: {words}", *("yes" if name in features[s.name] else "no" for s in SUBJECTS))
        for name, words in _FEATURES.items()
    ]
    lines = [_INTRODUCTION, "## Features\n", _ABOUT_FEATURES, *_table("Feature", declared)]
    for theme in THEMES:
        cases = [case for case in CASES.values() if case.theme == theme]
        rows = [(c.promise, *(_cell(c.name, s, passed, notes) for s in SUBJECTS)) for c in cases]
        lines += [f"\n## {theme}\n", *_table("Promise", rows)]
    lines += ["\n## Reasons\n", *(f"{number}. {text}" for text, number in notes.items()), ""]
    return "\n".join(lines)


class _Notes(dict[str, int]):
    """Footnotes in order of their first use."""

    def number(self, opt_out: OptOut) -> int:
        text = opt_out.reason
        if opt_out.param is not None:
            text += f" Such a request is refused with a 400 that names `{opt_out.param}`."
        elif opt_out.dropped is not None:
            text += f" `{opt_out.dropped}` is left out, and the reply names it as dropped."
        return self.setdefault(text, len(self) + 1)


def _cell(case: str, subject: Subject, passed: set[tuple[str, str]], notes: _Notes) -> str:
    if (case, subject.name) not in passed:
        return "**fails**"
    opt_out = subject.opt_outs.get(case)
    return "yes" if opt_out is None else f"no <sup>{notes.number(opt_out)}</sup>"


def _table(first: str, rows: Iterable[Sequence[str]]) -> list[str]:
    head = [(first, *(s.name for s in SUBJECTS)), ("---", *(":-:" for _ in SUBJECTS))]
    return [f"| {' | '.join(cells)} |" for cells in (*head, *rows)]


class Outcomes:
    """A pytest plugin that collects what the contract tests have recorded of themselves."""

    def __init__(self) -> None:
        self.held: list[tuple[str, str]] = []
        self.features: dict[str, frozenset[Feature]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or not report.passed:
            return
        recorded = dict(report.user_properties)
        if "contract" in recorded:
            case, subject = str(recorded["contract"]).split(" of ")
            self.held.append((case, subject))
        elif "features" in recorded:
            subject, _, names = str(recorded["features"]).partition(": ")
            self.features[subject] = frozenset(name for name in get_args(Feature) if name in names.split())


def main() -> int:
    """Run, and write the document if everything has passed; the exit code of the run."""
    outcomes = Outcomes()
    tests = Path(__file__).with_name("test_contract.py")
    code = int(
        pytest.main(
            ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", str(tests)],
            [outcomes],
        )
    )
    if code:
        print(f"{DOCUMENT.name} was not written: the contract is not kept.", file=sys.stderr)
    else:
        DOCUMENT.write_text(render(outcomes.held, outcomes.features))
        print(f"{DOCUMENT.name}: {len(outcomes.held)} outcomes")
    return code


if __name__ == "__main__":
    sys.exit(main())
