"""The shipped snapshot, the live list, and models nobody has heard of."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given

from providers.anthropic.models import AS_OF, SUCCESSORS, ModelTable, parse_models, snapshot
from tests.providers.translate.strategies import JSON


def test_the_snapshot_has_every_model_of_the_sdk() -> None:
    from anthropic.types.model import Model

    known = {model.id for model in snapshot()}
    table = ModelTable()
    for model_id in get_args(get_args(Model)[0]):
        assert model_id in SUCCESSORS or table.get(model_id).id in known, model_id
    assert not known & SUCCESSORS.keys()


def test_the_snapshot_is_what_the_sdk_would_parse() -> None:
    from pathlib import Path

    import orjson
    from anthropic.types import ModelInfo

    import providers.anthropic.models as module

    shipped = orjson.loads(Path(module.__file__).with_name("models.json").read_bytes())
    for entry in shipped["data"]:
        ModelInfo.model_construct(**entry)
        assert entry["type"] == "model"
        assert entry["id"] in shipped["rules"]
    assert shipped["rules"].keys() == {entry["id"] for entry in shipped["data"]}
    assert AS_OF == "2026-11-23"


@pytest.mark.parametrize(
    "model_id", ["claude-sonnet-4-0", "claude-sonnet-4-20250514", "claude-3-7-sonnet-20250219"]
)
def test_retired_sonnets_are_succeeded_by_the_alias(model_id: str) -> None:
    assert SUCCESSORS[model_id] == "sonnet"


def test_a_model_is_never_known_by_a_part_of_its_name() -> None:
    table = ModelTable()
    assert table.get("claude-sonnet-5").capabilities.forced_tool_choice
    assert not table.get("claude-sonnet-5-5").capabilities.forced_tool_choice
    assert table.get("claude-haiku-4-5-20251001").id == "claude-haiku-4-5"
    for unknown in ("claude-sonnet-5-6", "claude-sonnet", "claude-sonnet-5-5-fast", "x-claude-opus-5"):
        found = table.get(unknown)
        assert found.id == unknown
        assert found.capabilities.thinking == frozenset()
        assert found.max_output_tokens is None


def test_a_new_model_of_the_live_list_brings_its_capabilities_and_careful_rules() -> None:
    yes, no = {"supported": True}, {"supported": False}
    entry = {
        "type": "model",
        "id": "claude-sonnet-6",
        "display_name": "Claude Sonnet 6",
        "created_at": "2027-02-01T00:00:00Z",
        "lifecycle": "active",
        "max_tokens": 256_000,
        "max_input_tokens": 2_000_000,
        "capabilities": {
            "thinking": {"supported": True, "types": {"adaptive": yes, "enabled": no}},
            "effort": {"supported": True, "low": yes, "high": yes, "max": no},
            "structured_outputs": yes,
        },
    }
    table = ModelTable()
    table.update(parse_models({"data": [entry]}))
    found = table.get("claude-sonnet-6")
    can = found.capabilities
    assert (found.max_output_tokens, found.max_input_tokens, found.created) == (
        256_000,
        2_000_000,
        1_801_440_000,
    )
    assert (can.thinking, can.effort) == (frozenset({"adaptive"}), ("low", "high"))
    assert (can.thinks_by_default, can.structured_outputs) == (True, True)
    assert not any((can.sampling, can.forced_tool_choice, can.prefill, can.system_turns, can.images))


def test_the_live_list_keeps_the_rules_of_models_that_are_known() -> None:
    found = parse_models({"data": [{"id": "claude-haiku-4-5-20251001"}, {"id": "claude-opus-5"}]})
    assert found[0].capabilities.prefill
    assert found[1].capabilities.system_turns


@given(listed=JSON)
def test_a_list_of_anything_is_parsed_without_an_error(listed: Any) -> None:
    parse_models(listed)
    parse_models(
        {"data": [listed, {"id": "m", "capabilities": listed, "created_at": listed, "max_tokens": listed}]}
    )
