"""Parameters of a chat request: each row of the translation's table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from providers.anthropic.models import ModelTable, snapshot
from providers.errors import BadRequest
from providers.translate.chat_anthropic import AnthropicRequest, Options, to_anthropic
from providers.types import ModelInfo

TABLE = ModelTable()
USER = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]
ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def request(model: str = "claude-opus-5-5", *, defaulted: bool = False, **body: Any) -> AnthropicRequest:
    info = TABLE.get(model)
    return to_anthropic({"messages": USER, **body}, model=model, info=info, max_tokens_defaulted=defaulted)


def sent(model: str = "claude-opus-5-5", **body: Any) -> dict[str, Any]:
    return request(model, **body).body


def refused(**body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        request(**body)
    assert caught.value.status == 400
    return caught.value.param


def test_the_upstream_is_always_streamed_under_its_own_model_name() -> None:
    body = sent(model="claude-opus-5-5", stream=False)
    assert body["stream"] is True
    assert body["model"] == "claude-opus-5-5"


@pytest.mark.parametrize("model", [info.id for info in snapshot()])
def test_sampling_parameters_are_dropped_on_every_model_and_named(model: str) -> None:
    found = request(model, temperature=0, top_p=0.9, top_k=5)
    assert found.dropped == ("temperature", "top_p", "top_k")
    assert not {"temperature", "top_p", "top_k"} & found.body.keys()


def test_what_has_no_counterpart_is_dropped_and_named_in_request_order() -> None:
    given: dict[str, Any] = {
        "logit_bias": {"1": 2},
        "seed": 1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0,
        "logprobs": False,
        "top_logprobs": 3,
        "prediction": {},
        "store": False,
        "metadata": {},
        "modalities": ["text"],
        "audio": {},
        "verbosity": "low",
        "prompt_cache_key": "k",
        "web_search_options": {},
        "something_new": 1,
    }
    assert request(**given).dropped == tuple(given)
    assert request(**cast(dict[str, Any], dict.fromkeys(given))).dropped == ()


def test_names_that_could_break_a_header_are_not_repeated() -> None:
    odd: dict[str, Any] = {"a\r\nx-evil: 1": 1, "é": 1, "x" * 65: 1, "fine": 1}
    assert request(**odd).dropped == ("fine",)
    many: dict[str, Any] = {f"p{i}": 1 for i in range(100)}
    assert len(request(**many).dropped) == 32


def test_more_than_one_choice_is_unsupported() -> None:
    with pytest.raises(BadRequest) as caught:
        request(n=2)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_value")
    assert request(n=1).dropped == ()


@pytest.mark.parametrize("value", ["2", 0, 1.5, True, []])
def test_n_must_be_a_positive_integer(value: Any) -> None:
    assert refused(n=value) == "n"


def test_stop_sequences_that_are_blank_are_dropped() -> None:
    assert sent(stop="END")["stop_sequences"] == ["END"]
    found = request(stop=["\n", "END", ""])
    assert found.body["stop_sequences"] == ["END"]
    assert found.dropped == ("stop",)
    assert "stop_sequences" not in sent(stop=["\n"])
    assert refused(stop=["a", 1]) == "stop.1"
    assert refused(stop=1) == "stop"


def test_users_are_pseudonyms_that_depend_on_the_key() -> None:
    def user_id(key: bytes, **body: Any) -> str:
        info = TABLE.get("claude-opus-5-5")
        found = to_anthropic({"messages": USER, **body}, model="m", info=info, options=Options(user_key=key))
        return str(found.body["metadata"]["user_id"])

    one = user_id(b"k", user="ann@example.com")
    assert "ann" not in one
    assert len(one) == 32
    assert one == user_id(b"k", user="ann@example.com") == user_id(b"k", safety_identifier="ann@example.com")
    assert one != user_id(b"other", user="ann@example.com")
    assert one != user_id(b"k", user="bob@example.com")
    assert "metadata" not in sent(user="")
    assert refused(user=1) == "user"


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "sent_effort"),
    [
        # Opus 5.5 cannot be kept from thinking: the least it does is `low`.
        ("claude-opus-5-5", None, ADAPTIVE, None),
        ("claude-opus-5-5", "none", ADAPTIVE, "low"),
        ("claude-opus-5-5", "minimal", ADAPTIVE, "low"),
        ("claude-opus-5-5", "xhigh", ADAPTIVE, "xhigh"),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None),
        ("claude-haiku-5-5", "none", {"type": "disabled"}, None),
        ("claude-opus-5", "none", {"type": "disabled"}, None),
        ("claude-opus-5", "max", ADAPTIVE, "max"),
        # These think only when asked.
        ("claude-opus-4-8", None, None, None),
        ("claude-opus-4-8", "none", None, None),
        ("claude-opus-4-8", "high", ADAPTIVE, "high"),
        ("claude-sonnet-4-6", "xhigh", ADAPTIVE, "high"),  # the nearest level below
        # A budget, and an effort where the model takes one.
        ("claude-opus-4-5", "low", {"type": "enabled", "budget_tokens": 2048}, "low"),
        ("claude-haiku-4-5", "medium", {"type": "enabled", "budget_tokens": 8192}, None),
        ("claude-haiku-4-5", None, None, None),
        ("claude-unheard-of-9", "high", None, None),
    ],
)
def test_reasoning_effort_in_the_terms_of_each_model(
    model: str, effort: str | None, thinking: Any, sent_effort: str | None
) -> None:
    body = sent(model, reasoning_effort=effort, max_tokens=32_000)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == sent_effort


def test_an_effort_that_cannot_be_honoured_is_named() -> None:
    assert request("claude-haiku-4-5", reasoning_effort="high", max_tokens=2000).dropped == (
        "reasoning_effort",
    )
    forced = request("claude-haiku-4-5", reasoning_effort="high", tools=TOOLS, tool_choice="required")
    assert (forced.dropped, forced.body["tool_choice"]) == (("reasoning_effort",), {"type": "any"})
    assert request("claude-unheard-of-9", reasoning_effort="high").dropped == ("reasoning_effort",)
    assert refused(reasoning_effort="extreme") == "reasoning_effort"
    assert refused(reasoning_effort=3) == "reasoning_effort"


def test_a_tool_loop_without_thinking_blocks_cannot_think_with_a_budget() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    loop = [
        *USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]
    found = request("claude-haiku-4-5", messages=loop, reasoning_effort="high", max_tokens=32_000)
    assert "thinking" not in found.body
    assert found.dropped == ("reasoning_effort",)


def test_a_budget_leaves_half_for_the_answer() -> None:
    body = sent("claude-haiku-4-5", reasoning_effort="high", max_tokens=8000)
    assert body["thinking"]["budget_tokens"] == 4000
    assert body["max_tokens"] == 8000
    added = request("claude-haiku-4-5", reasoning_effort="high", max_tokens=1200, defaulted=True).body
    assert (added["thinking"]["budget_tokens"], added["max_tokens"]) == (16_384, 16_384 + 1200)


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        # A default is a budget of visible text; thinking and tool calls come on top.
        ("claude-opus-4-8", {}, 1200),
        ("claude-opus-4-8", {"tools": TOOLS}, 8192),
        ("claude-opus-4-8", {"reasoning_effort": "low"}, 1200 + 2048),
        ("claude-opus-5-5", {}, 1200 + 16_384),
        ("claude-opus-5-5", {"reasoning_effort": "medium", "tools": TOOLS}, 8192 + 8192),
        ("claude-opus-5-5", {"reasoning_effort": "none"}, 1200 + 2048),
        ("claude-haiku-5-5", {"reasoning_effort": "none"}, 1200),
        ("claude-opus-5-5", {"reasoning_effort": "max", "max_tokens": 100_000}, 128_000),
        ("claude-unheard-of-9", {}, 1200 + 16_384),
    ],
)
def test_a_defaulted_limit_leaves_room_to_think_and_to_call(
    model: str, body: dict[str, Any], expected: int
) -> None:
    given: dict[str, Any] = {"max_tokens": 1200, **body}
    assert request(model, defaulted=True, **given).body["max_tokens"] == expected
    if "max_tokens" not in body:
        assert request(model, **body).body["max_tokens"] == expected  # no middleware filled it in


@pytest.mark.parametrize("tools", [[], TOOLS])
def test_a_limit_of_the_caller_is_never_raised_and_clamped_to_the_models(tools: Any) -> None:
    assert sent(max_tokens=50, tools=tools)["max_tokens"] == 50
    assert sent(max_tokens=50, max_completion_tokens=70)["max_tokens"] == 70
    assert sent(max_tokens=10**9)["max_tokens"] == 128_000
    unlimited = replace(TABLE.get("claude-opus-5-5"), max_output_tokens=None)
    assert _limit(unlimited, 10**9) == 10**9


def _limit(info: ModelInfo, value: int) -> Any:
    return to_anthropic({"messages": USER, "max_tokens": value}, model="m", info=info).body["max_tokens"]


@pytest.mark.parametrize("value", ["100", 0, -1, 1.5, True])
def test_a_limit_must_be_a_positive_integer(value: Any) -> None:
    assert refused(max_tokens=value) == "max_tokens"
    assert refused(max_completion_tokens=value) == "max_completion_tokens"


def test_service_tiers() -> None:
    assert "service_tier" not in sent(service_tier="auto")
    assert sent(service_tier="default")["service_tier"] == "standard_only"
    assert request(service_tier="flex").dropped == ("service_tier",)


def test_stream_options() -> None:
    assert request(stream_options={"include_usage": True}).reply.include_usage
    assert not request(stream_options={"include_obfuscation": False}).reply.include_usage
    assert refused(stream_options=[]) == "stream_options"
    assert refused(stream_options={"include_usage": 1}) == "stream_options.include_usage"


def test_values_that_json_cannot_carry_are_a_bad_request() -> None:
    for value in ("\ud800", 2**70):
        found = request(
            messages=[{"role": "user", "content": "x"}],
            tools=[{"name": "f", "input_schema": {"type": "object", "x": value}}],
        )
        with pytest.raises(BadRequest):
            found.encode()
    deep: Any = {}
    for _ in range(400):
        deep = {"type": "object", "properties": {"p": deep}}
    with pytest.raises(BadRequest):
        request(tools=[{"name": "f", "input_schema": deep}]).encode()


def test_a_json_object_is_asked_for_in_words_behind_the_callers_own() -> None:
    found = request(
        messages=[{"role": "system", "content": "mine"}, *USER], response_format={"type": "json_object"}
    )
    assert found.body["system"][0]["text"] == "mine"
    assert "JSON object" in found.body["system"][1]["text"]
    assert found.reply.json_object
    assert found.dropped == ()


def test_a_schema_is_enforced_where_the_model_can() -> None:
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}},
    }
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert sent(response_format=wanted)["output_config"] == {
        "format": {"type": "json_schema", "schema": closed}
    }
    told = request("claude-unheard-of-9", response_format=wanted)
    assert '"additionalProperties":false' in told.body["system"][0]["text"]
    assert told.dropped == ("response_format",)
    both = sent(response_format=wanted, reasoning_effort="low")["output_config"]
    assert both.keys() == {"effort", "format"}


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("json", "response_format"),
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": []}}, "response_format.json_schema.schema"),
    ],
)
def test_a_wrong_response_format_is_refused_with_its_place(value: Any, param: str) -> None:
    assert refused(response_format=value) == param
