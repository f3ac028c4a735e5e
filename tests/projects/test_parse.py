"""What projects and keys are made from: exact, strict, and every mistake named by its field."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.projects.parse import (
    changed_key,
    changed_project,
    key_from_json,
    nano_from,
    project_from_json,
    read_json,
    rules_from_json,
)
from gw.projects.rows import key_of, key_values, project_of, project_values
from gw.projects.types import Invalid, Key, Project, Rules, dollars, key_json, project_json, rules_json

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
WHOLE: dict[str, Any] = {
    "name": "Research: 研究",
    "rpm": 60,
    "tpm": 100_000,
    "concurrent": 8,
    "daily_budget_usd": "12.50",
    "monthly_budget_usd": "200.000000001",
    "rules": {
        "models": ["claude-haiku-*", "local:*"],
        "default_model": "haiku",
        "max_tokens": 4096,
        "system_prefix": "You work for us.\nBe brief.",
        "allowed_tools": ["Read", "mcp__files__list"],
        "blocked_tools": ["Bash"],
        "cache": "shared",
    },
    "labels": {"cost-center": "4711"},
}


def project(**more: Any) -> Project:
    spec = project_from_json({"id": "research", **WHOLE, **more})
    return project_of({**project_values(spec), "created_at": NOW, "updated_at": NOW})


def key(**more: Any) -> Key:
    spec = key_from_json({**WHOLE, **more})
    row = {**key_values(spec), "id": "k", "project": "research", "created_at": NOW, "updated_at": NOW}
    return key_of(row)


def test_everything_that_is_given_comes_back_through_the_table() -> None:
    shown = project_json(project())
    assert {name: shown[name] for name in WHOLE} == WHOLE
    shown = key_json(key(expires_at="2027-01-31T00:00:00+01:00"))
    assert {name: shown[name] for name in WHOLE} == WHOLE
    assert shown["expires_at"] == "2027-01-30T23:00:00Z"


def test_a_project_needs_no_more_than_an_id() -> None:
    spec = project_from_json({"id": "a"})
    assert (spec.name, spec.rpm, spec.daily_budget_nano, spec.rules) == ("a", None, None, Rules())


@pytest.mark.parametrize(
    ("given", "nano"),
    [
        ("0.1", 100_000_000),
        (Decimal("0.1"), 100_000_000),
        (3, 3 * 10**9),
        ("0.000000001", 1),
        ("1.100000000000", 1_100_000_000),
        (0, 0),
        (1_000_000_000, 10**18),
        (None, None),
    ],
)
def test_dollars_are_exact_to_the_nano_dollar(given: Any, nano: int | None) -> None:
    assert nano_from("daily_budget_usd", given) == nano


@pytest.mark.parametrize(
    "given",
    [
        *(
            -1,
            "-1",
            "1e3",
            "$5",
            "",
            " 1",
            "1.",
            ".5",
            "1,5",
            "NaN",
            "Infinity",
            "\u0661",
            "0.0000000001",
            True,
        ),
        *([], {}, 0.1, 1_000_000_001, "1000000000.000000001", 10**4000, "9" * 19),
        *(Decimal("NaN"), Decimal("Infinity"), Decimal(-1), Decimal("1e999999"), Decimal("1e-999999")),
    ],
)
def test_money_that_cannot_be_meant_is_refused_by_name(given: Any) -> None:
    with pytest.raises(Invalid, match=r"^daily_budget_usd must be dollars"):
        nano_from("daily_budget_usd", given)


@given(st.integers(0, 10**18))
def test_dollars_survive_every_way_there_and_back(nano: int) -> None:
    text = dollars(nano)
    assert text is not None
    assert nano_from("x", text) == nano
    assert nano_from("x", read_json(text)) == nano  # as a number of JSON


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ({}, "id"),
        ({"id": None}, "id"),
        ({"id": "A"}, "id"),
        ({"id": "a" * 64}, "id"),
        ({"id": "-a"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "a/../b"}, "id"),
        ({"id": 7}, "id"),
        ({"id": "a", "name": " "}, "name"),
        ({"id": "a", "name": "two\nlines"}, "name"),
        ({"id": "a", "name": "nul\0"}, "name"),
        ({"id": "a", "name": "half \ud800"}, "name"),
        ({"id": "a", "name": "\x1b[31m"}, "name"),
        ({"id": "a", "name": "x" * 201}, "name"),
        ({"id": "a", "rpm": 0}, "rpm"),
        ({"id": "a", "rpm": True}, "rpm"),
        ({"id": "a", "rpm": "60"}, "rpm"),
        ({"id": "a", "tpm": 2**31}, "tpm"),
        ({"id": "a", "concurrent": Decimal("1.5")}, "concurrent"),
        ({"id": "a", "digest": "0"}, "digest"),
        ({"id": "a", "gw_secret\0": 1}, "…"),
        ({"id": "a", "rules": []}, "rules"),
        ({"id": "a", "rules": {"model": []}}, "rules.model"),
        ({"id": "a", "rules": {"models": "claude-*"}}, "rules.models"),
        ({"id": "a", "rules": {"models": ["ok", "with space"]}}, "rules.models[1]"),
        ({"id": "a", "rules": {"models": ["*a*b*c*"]}}, "rules.models[0]"),
        ({"id": "a", "rules": {"models": ["m"] * 201}}, "rules.models"),
        ({"id": "a", "rules": {"default_model": "claude-*"}}, "rules.default_model"),
        ({"id": "a", "rules": {"max_tokens": 0}}, "rules.max_tokens"),
        ({"id": "a", "rules": {"system_prefix": " "}}, "rules.system_prefix"),
        ({"id": "a", "rules": {"allowed_tools": [""]}}, "rules.allowed_tools[0]"),
        ({"id": "a", "rules": {"cache": "on"}}, "rules.cache"),
        ({"id": "a", "rules": {"cache": []}}, "rules.cache"),
        ({"id": "a", "labels": {"UP": "x"}}, "labels"),
        ({"id": "a", "labels": {"x": 1}}, "labels.x"),
        ({"id": "a", "labels": {"x": None}}, "labels.x"),
        ({"id": "a", "labels": {f"l{n}": "x" for n in range(33)}}, "labels"),
    ],
)
def test_every_mistake_names_its_field(body: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        project_from_json(body)
    assert refused.value.field == field
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "moment",
    [
        *("2027-01-31", "2027-01-31T00:00:00", "tomorrow", "", 5, "9999-12-31T23:59:59-12:00"),
        "0001-01-01T00:00:00+12:00",
    ],
)
def test_an_expiry_without_a_zone_or_a_meaning_is_refused(moment: Any) -> None:
    with pytest.raises(Invalid, match=r"^expires_at must be a time with its zone"):
        key_from_json({"expires_at": moment})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from([*WHOLE, *WHOLE["rules"], "id", "expires_at", "?"]), inner)
        ),
        max_leaves=20,
    )
)
def test_whatever_is_sent_is_taken_or_refused(value: Any) -> None:
    for read in (project_from_json, key_from_json, rules_from_json):
        with suppress(Invalid):
            read(value)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b'{"a": NaN}', b"[Infinity]", b'{"a": 1, "a": 2}', b"\xff\xfe", b"[" * 5000),
        *(b'{"a": ' * 20 + b"1" + b"}" * 20, b"9" * 5000, b'{"a": [{}, {"b": 1, "b": 2}]}'),
    ],
)
def test_what_is_not_plain_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid):
        read_json(raw)


def test_numbers_of_json_are_exact() -> None:
    found = read_json(b'{"daily_budget_usd": 0.1, "id": "a"}')
    assert project_from_json(found).daily_budget_nano == 100_000_000


def test_a_patch_changes_what_it_names_and_null_takes_away() -> None:
    old = project()
    patch = {"rpm": None, "rules": {"models": None, "cache": "off"}, "labels": {"team": "x"}}
    new = changed_project(old, patch)
    assert (new.rpm, new.tpm, new.daily_budget_nano) == (None, old.tpm, old.daily_budget_nano)
    assert (new.rules.models, new.rules.cache, new.rules.max_tokens) == ((), "off", 4096)
    assert new.labels == {"cost-center": "4711", "team": "x"}


def test_an_empty_patch_changes_nothing() -> None:
    old = key(expires_at="2027-01-31T00:00:00Z")
    new = changed_key(old, {})
    assert all(getattr(new, name) == getattr(old, name) for name in new.__dataclass_fields__)
    assert changed_key(old, {"expires_at": None}).expires_at is None


@pytest.mark.parametrize("patch", [{"id": "b"}, {"archived_at": None}, {"created_at": "x"}, None, []])
def test_what_cannot_be_changed_is_refused(patch: Any) -> None:
    with pytest.raises(Invalid):
        changed_project(project(), patch)
    with pytest.raises(Invalid):
        changed_key(key(), patch)


@pytest.mark.parametrize("name", ["models", "allowed_tools", "blocked_tools"])
def test_an_empty_list_is_neither_everything_nor_nothing_but_a_mistake(name: str) -> None:
    empty: dict[str, Any] = {"rules": {name: []}}
    for made in (
        lambda: project_from_json({"id": "a", **empty}),
        lambda: key_from_json(empty),
        lambda: changed_project(project(), empty),
        lambda: changed_key(key(), empty),
    ):
        with pytest.raises(Invalid, match=f"^rules.{name} must name at least one: .* null") as caught:
            made()
        assert caught.value.field == f"rules.{name}"
    assert getattr(changed_project(project(), {"rules": {name: None}}).rules, name) == ()


def test_rules_in_the_table_are_those_that_there_are() -> None:
    assert rules_json(Rules()) == {}
    assert rules_from_json(json.loads("{}")) == Rules()
