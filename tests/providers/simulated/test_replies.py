"""What the simulation says is sensible, deterministic, and survives the way through the event stream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from providers.simulated.events import events, sse
from providers.simulated.models import MODELS
from providers.simulated.replies import Plan, Planner
from providers.simulated.synthesis import instance, pieces

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-opus-5",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "input_schema": schema}


def reassemble(plan: Plan) -> dict[str, Any]:
    """The message that a client makes of the events of ``plan``, each checked against the SDK's types."""
    message: dict[str, Any] = {}
    texts: dict[int, str] = {}
    for item in events(plan):
        if item["type"] != "ping":
            EVENT.validate_python(item)
        name, _, data = sse(item).partition(b"\n")
        assert name == f"event: {item['type']}".encode()
        event = json.loads(data.removeprefix(b"data: "))
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] = delta["signature"]
                    case "input_json_delta":
                        texts[event["index"]] = texts.get(event["index"], "") + delta["partial_json"]
            case "content_block_stop":
                if text := texts.get(event["index"]):
                    message["content"][event["index"]]["input"] = json.loads(text)
            case "message_delta":
                message.update(event["delta"])
                message["usage"] |= event["usage"]
    return message


def test_the_same_request_gets_the_same_answer() -> None:
    request = ask("use a tool", tools=[tool("look", at={"type": "string"})], thinking={"type": "adaptive"})
    assert Planner().plan(request) == Planner().plan(request)
    assert Planner().plan(request).id != Planner().plan(ask("something else")).id


def test_it_repeats_what_was_said() -> None:
    (block,) = Planner().plan(ask("tell me of trees")).content
    assert "tell me of trees" in block["text"]
    assert "no network" in block["text"]


@pytest.mark.parametrize(
    ("text", "more", "called"),
    [
        ("hello", {}, []),
        ("please look around", {}, ["look"]),
        ("use the tool", {}, ["look"]),
        ("use two tools", {}, ["look", "touch"]),
        ("look and touch in parallel", {}, ["look", "touch"]),
        ("use three tools", {}, ["look", "touch", "look"]),
        ("use two tools", {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, ["look"]),
        ("use the tool", {"tool_choice": {"type": "none"}}, []),
        ("hello", {"tool_choice": {"type": "any"}}, ["look"]),
        ("hello", {"tool_choice": {"type": "tool", "name": "touch"}}, ["touch"]),
    ],
)
def test_tools_are_called_when_they_are_asked_for(text: str, more: dict[str, Any], called: list[str]) -> None:
    plan = Planner().plan(ask(text, tools=[tool("look"), tool("touch")], **more))
    blocks = [block for block in plan.content if block["type"] == "tool_use"]
    assert [block["name"] for block in blocks] == called
    assert len({block["id"] for block in blocks}) == len(blocks)
    assert plan.stop_reason == ("tool_use" if called else "end_turn")


def test_tool_results_are_summed_up() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "a tree", "is_error": True}
    request = ask("look") | {
        "messages": [
            {"role": "user", "content": "look"},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ],
        "tools": [tool("look")],
    }
    plan = Planner().plan(request)
    assert plan.stop_reason == "end_turn"
    assert "look failed with: “a tree”" in plan.content[0]["text"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "example"),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"type": "boolean"}, True),
        ({"type": ["null", "string"]}, None),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"type": "string", "format": "date"}, "2026-11-23"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "object"}]}, {"a": 1}),
        ({"$defs": {"x": {"const": 3}}, "$ref": "#/$defs/x"}, 3),
        ({"properties": {"a": {"type": "boolean"}, "b": {}}, "required": ["a"]}, {"a": True}),
        (True, "example"),
    ],
)
def test_values_fit_their_schema(schema: Any, value: Any) -> None:
    assert instance(schema) == value


def test_a_recursive_schema_comes_to_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert json.dumps(instance(node)).count("next") < 20


def test_a_structured_answer_is_json_of_that_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    plan = Planner().plan(ask("hi", output_config={"format": {"type": "json_schema", "schema": schema}}))
    assert json.loads(plan.content[0]["text"]) == {"n": 1}


def test_a_stop_sequence_is_where_the_answer_ends() -> None:
    plan = Planner().plan(ask("one STOP two", stop_sequences=["STOP", "absent"]))
    assert (plan.stop_reason, plan.stop_sequence) == ("stop_sequence", "STOP")
    assert plan.content[0]["text"].endswith("one ")


@pytest.mark.parametrize("limit", [0, 1, 3, 10, 20, 40])
def test_no_answer_is_longer_than_max_tokens(limit: int) -> None:
    request = ask("x " * 100, max_tokens=limit, tools=[tool("look", at={"type": "string"})])
    for text in ("x " * 100, "look"):
        plan = Planner().plan({**request, "messages": [{"role": "user", "content": text}]})
        assert plan.usage["output_tokens"] <= limit
        if plan.stop_reason != "max_tokens":
            assert text == "look"
        Message.model_validate(plan.message())


def test_a_tool_call_that_is_cut_short_streams_broken_arguments() -> None:
    request = ask(
        "look", max_tokens=20, tools=[tool("look", at={"type": "string"}, long={"const": "y" * 99})]
    )
    plan = Planner().plan(request)
    assert plan.stop_reason == "max_tokens"
    text = "".join(
        event["delta"].get("partial_json", "")
        for event in events(plan)
        if event["type"] == "content_block_delta"
    )
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_every_model_of_the_catalogue_has_a_shape_that_the_gateway_understands() -> None:
    for model in MODELS.values():
        info = model.info("simulated")
        assert info.created > 0
        assert info.capabilities.thinking == model.thinking


texts = st.text(min_size=1, max_size=60)
blocks = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, texts),
        st.builds(lambda text, mark: {"type": "thinking", "thinking": text, "signature": mark}, texts, texts),
        st.builds(
            lambda value: {"type": "tool_use", "id": "toolu_1", "name": "f", "input": value},
            st.dictionaries(texts, st.integers(-9, 9) | texts | st.lists(texts, max_size=2), max_size=3),
        ),
    ),
    max_size=4,
)


@given(blocks)
def test_any_plan_comes_back_from_its_events(content: list[dict[str, Any]]) -> None:
    plan = Planner().finish(ask("x", max_tokens=100_000), content, "end_turn")
    assert reassemble(plan) == plan.message()


@given(st.text())
def test_pieces_are_the_text_in_small_portions(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    assert all(len(piece.strip()) <= 4 for piece in cut)
