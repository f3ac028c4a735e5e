"""A key never widens its project: what is allowed is what both allow."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gw.projects.merge import NOTHING, merged, principal_of
from gw.projects.types import Key, Project, Rules
from middleware._state import Account

NOW = datetime(2026, 11, 24, tzinfo=UTC)
#: Few letters, so that patterns and names meet often.
PATTERN = st.text("ab*", min_size=1, max_size=5).filter(lambda text: text.count("*") <= 3)
NAME = st.text("ab", max_size=6)


def key(**more: Any) -> Key:
    return Key(id="k1", project="p", name="", created_at=NOW, updated_at=NOW, **more)


def project(**more: Any) -> Project:
    return Project(id="p", name="p", created_at=NOW, updated_at=NOW, **more)


def allows(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) for pattern in patterns
    )


@given(st.lists(PATTERN, max_size=3), st.lists(PATTERN, max_size=3), NAME)
def test_a_model_is_allowed_exactly_where_the_project_and_the_key_allow_it(
    one: list[str], other: list[str], name: str
) -> None:
    both = merged(Rules(models=tuple(one)), Rules(models=tuple(other))).models
    # The empty name is what stands for "none at all", and no model's.
    if name:
        assert allows(both, name) == (allows(tuple(one), name) and allows(tuple(other), name))


def test_what_two_patterns_have_in_common_is_spelt_out() -> None:
    rules = merged(Rules(models=("claude-*",)), Rules(models=("claude-haiku-*", "local:*")))
    assert rules.models == ("claude-haiku-*",)


def test_where_nothing_is_left_nothing_is_allowed() -> None:
    rules = merged(
        Rules(models=("claude-*",), allowed_tools=("Read",)),
        Rules(models=("local:*",), allowed_tools=("Bash",)),
    )
    assert rules.models == rules.allowed_tools == NOTHING
    assert not allows(rules.models, "claude-haiku-5-5")


def test_bounds_tools_texts_and_cache_of_both_hold() -> None:
    rules = merged(
        Rules(
            max_tokens=100,
            system_prefix="We are Acme.",
            allowed_tools=("Read", "Bash"),
            blocked_tools=("Bash",),
            cache="off",
            default_model="sonnet",
        ),
        Rules(
            max_tokens=200,
            system_prefix="Be brief.",
            allowed_tools=("Bash", "Read", "Write"),
            blocked_tools=("Web",),
            cache="shared",
            default_model="haiku",
        ),
    )
    assert rules.max_tokens == 100
    assert rules.system_prefix == "We are Acme.\n\nBe brief."
    assert set(rules.allowed_tools) == {"Bash", "Read"}
    assert set(rules.blocked_tools) == {"Bash", "Web"}
    assert rules.cache == "off"
    assert rules.default_model == "haiku"


def test_a_caller_stands_for_its_project_and_its_key() -> None:
    found = principal_of(
        key(rpm=5, monthly_budget_nano=7, labels={"team": "key's"}),
        project(rpm=50, tpm=60, concurrent=3, daily_budget_nano=9, labels={"team": "x", "area": "y"}),
    )
    assert found.accounts == (
        Account("project:p", rpm=50, tpm=60, concurrent=3, daily_budget=9),
        Account("key:k1", rpm=5, monthly_budget=7),
    )
    assert (found.project, found.key_id, found.policy) == ("p", "k1", None)
    assert found.labels == (("area", "y"), ("team", "key's"))
