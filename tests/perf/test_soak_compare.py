"""The judge of the soak: every way in which a ledger can be wrong is a difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from perf.soak.client import Outcome
from perf.soak.compare import Findings, compare
from perf.soak.prices import cost_nano
from perf.soak.rows import NOTHING, Billed, Row, Tokens
from perf.soak.traffic import TARGETS, Ask, asks

TOKENS = Tokens(100, 20, 1_000, 50, 7, 5)
COST = 100 * 4_000 + 20 * 20_000 + 1_000 * 200 + 50 * 5_000 + 7 * 8_000
ASK = Ask(0, "t", "chat", "claude-opus-5-5", True, b"", 0)
WHOLE = Outcome(200, 999, "whole")
ROW = Row(
    "t", "p", "chat", "claude-opus-5-5", "anthropic", 200, True, TOKENS, COST, 1, "", frozenset(), "req_1"
)
LINE = Billed("req_1", "t", "/v1/messages", "finished", TOKENS)
SPENT = {"project:p": (COST, 0)}


def judged(
    rows: list[Row],
    lines: list[Billed],
    *,
    outcome: Outcome = WHOLE,
    spent: Mapping[str, tuple[int, int]] = SPENT,
) -> Findings:
    return compare([(ASK, outcome)], rows, lines, projects=["p"], spent=spent)


def test_a_ledger_that_is_right_has_no_differences() -> None:
    found = judged([ROW], [LINE])
    assert found.differences == []
    assert (found.exact, found.recorded, found.billed, found.cost_nano) == (1, TOKENS, TOKENS, COST)


@pytest.mark.parametrize(
    ("rows", "lines", "said"),
    [
        ([], [LINE], "lost: the upstream"),
        ([], [], "lost: answered"),
        ([ROW, ROW], [LINE], "2 rows"),
        ([ROW], [LINE, replace(LINE, request_id="req_2", tokens=NOTHING)], "1 attempts"),
        ([ROW], [], "1 attempts"),
        ([replace(ROW, upstream_request_id="req_9")], [LINE], "does not know"),
        ([replace(ROW, project="q")], [LINE], "not what was asked"),
        ([replace(ROW, status=500)], [LINE], "status 500"),
        ([replace(ROW, cost_nano=COST + 1)], [LINE], "cost"),
        ([replace(ROW, cost_nano=None)], [LINE], "cost None"),
        ([replace(ROW, model="gpt-9")], [LINE], "no price"),
        ([ROW], [LINE, replace(LINE, tag="u")], "nobody has asked"),
        ([ROW, replace(ROW, request_id="u")], [LINE], "nobody has made"),
    ],
)
def test_what_is_wrong_is_said(rows: list[Row], lines: list[Billed], said: str) -> None:
    assert any(said in difference for difference in judged(rows, lines).differences)


@pytest.mark.parametrize("name", Tokens._fields)
def test_one_token_too_many_is_a_difference(name: str) -> None:
    more: Any = {name: getattr(TOKENS, name) + 1}
    found = judged([ROW], [replace(LINE, tokens=TOKENS._replace(**more))])
    assert any(difference.startswith(f"t: {name} ") for difference in found.differences)


@pytest.mark.parametrize("name", Tokens._fields)
def test_a_flag_covers_what_it_names_and_nothing_else(name: str) -> None:
    more: Any = {name: getattr(TOKENS, name) + 1}
    for flag in ("input", "output"):
        row = replace(ROW, estimated=frozenset((flag,)))
        found = judged([row], [replace(LINE, tokens=TOKENS._replace(**more))])
        covered = (name in ("output", "reasoning")) == (flag == "output")
        assert (not found.differences) == covered
        assert len(found.flagged) == 1


@pytest.mark.parametrize("spent", [{}, {"project:p": (COST - 1, 0)}, {"project:p": (COST, 5)}])
def test_budgets_that_believe_something_else_are_a_difference(spent: dict[str, tuple[int, int]]) -> None:
    assert judged([ROW], [LINE], spent=spent).differences


def test_prices_are_those_of_each_provider() -> None:
    assert cost_nano("ollama", "qwen3:8b", TOKENS) == 0
    assert cost_nano("openai", "gpt-3.5-turbo-instruct", TOKENS) is None
    assert cost_nano("openai", "gpt-3.5-turbo-instruct", NOTHING) == 0
    assert cost_nano("bedrock", "anthropic.claude-opus-5-5", TOKENS) == round(COST * 1.1)
    assert cost_nano("anthropic", "claude-opus-5-5", TOKENS, "us") == round(COST * 1.1)
    assert cost_nano("bedrock", "anthropic.claude-opus-5-5", TOKENS, "us") == round(COST * 1.1)
    assert cost_nano("anthropic", "claude-opus-5-5", TOKENS, "global") == COST


def test_a_row_that_knows_not_where_it_was_computed_is_a_difference() -> None:
    there = replace(LINE, geo="us")
    assert "cost" in " ".join(judged([ROW], [there]).differences)
    dearer = round(COST * 1.1)
    assert not judged([replace(ROW, cost_nano=dearer)], [there], spent={"project:p": (dearer, 0)}).differences


def test_the_same_seed_asks_the_same_and_everything_is_asked() -> None:
    asked = list(asks(3_000, seed=3, keys=2))
    assert asked == list(asks(3_000, seed=3, keys=2))
    assert asked != list(asks(3_000, seed=4, keys=2))
    assert {ask.model for ask in asked} == {model for model, _, _ in TARGETS}
    assert {ask.model for ask in asked if ask.geo} == {m for m, _, _ in TARGETS if m.startswith("claude")}
    assert {ask.dialect for ask in asked} == {"chat", "messages", "responses", "completions", "embeddings"}
    assert len({ask.tag for ask in asked}) == len(asked)
    assert all(f"[tag {ask.tag}]".encode() in ask.body for ask in asked)
