"""The tables that people read say what the suite declares and proves."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

import pytest

from .catalog import CLIENTS
from .client import Column, Shows, locked_version
from .report import DOCUMENT, README, between, described, replaced, sent, table


@pytest.mark.parametrize("page", [README, DOCUMENT], ids=lambda page: page.name)
def test_the_table_is_what_the_suite_declares(page: object) -> None:
    """``make clients`` writes it, from a run in which all of it has been proven."""
    assert page in (README, DOCUMENT)
    text = README.read_text() if page is README else DOCUMENT.read_text()
    assert between(text, "clients") == table(CLIENTS)


def test_every_client_is_told_of_in_the_document() -> None:
    rows = between(DOCUMENT.read_text(), "sent").splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]] == [client.name for client in CLIENTS]


def test_slugs_are_unlike_each_other() -> None:
    assert len({client.slug for client in CLIENTS}) == len(CLIENTS)


def test_a_cell_that_nothing_has_proven_fails() -> None:
    client = CLIENTS[0]
    proven = [f"{client.slug} {column}" for column in get_args(Column)]
    assert "**fails**" not in table([client], proven)
    row = table([client], proven[1:]).splitlines()[2]
    assert row.count("**fails**") == 1
    assert row.split(" | ")[3] == "**fails**"
    assert table([client], []).count("**fails**") == len(get_args(Column))


def test_what_a_client_shows_is_what_its_row_says() -> None:
    client = replace(CLIENTS[0], shows=Shows(tools="edits", thinking="dropped", cache="sends none"))
    assert table([client]).splitlines()[2].endswith("| yes | edits | dropped | sends none |")


def test_versions_are_those_of_the_locks() -> None:
    for client in CLIENTS:
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", client.version), client
    with pytest.raises(LookupError, match="nonesuch"):
        locked_version("nonesuch", None)


def test_a_request_is_described_without_keys() -> None:
    headers = {"authorization": "Bearer secret", "x-session-id": "s", "x-stainless-lang": "js", "host": "h"}
    told = described(headers, {"model": "m", "tools": [{}, {}], "max_tokens": 9})
    assert told == {"fields": ["max_tokens: 9", "model", "tools (2)"], "headers": ["x-session-id"]}
    assert sent([CLIENTS[0]], {CLIENTS[0].slug: told}).endswith(
        "| Claude Code | `max_tokens: 9`, `model`, `tools (2)` | `x-session-id` |"
    )


def test_a_table_without_its_place_is_an_error() -> None:
    text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb"
    assert replaced(text, "x", "new") == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb"
    with pytest.raises(ValueError, match="y:begin"):
        replaced(text, "y", "new")
