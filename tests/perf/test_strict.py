"""The simulated upstream refuses what the Messages API refuses, and nothing else."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf.simulated import check
from perf.simulated.strict_thinking import dropped_thinking
from providers.simulated.replies import Planner

HEADERS = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
OLD = {**HEADERS, "anthropic-version": "2023-06-01"}
PNG = base64.b64encode(b"not really a picture").decode()
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a tree"}


def user(content: Any = "hello") -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = "hi") -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def request(**fields: Any) -> dict[str, Any]:
    """A plain request with ``fields`` changed; ``None`` takes a field out."""
    body = {"model": "claude-opus-5", "max_tokens": 4000, "messages": [user()], **fields}
    return {key: value for key, value in body.items() if value is not None}


def shaped(schema: Any) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def image(**source: Any) -> dict[str, Any]:
    return {"messages": [user([{"type": "image", "source": source}])]}


PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PNG}}
OPEN_OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**OPEN_OBJECT, "required": ["a"], "additionalProperties": False}
MARK = {"type": "ephemeral"}


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("a plain request", {}),
    ("a stream", {"stream": True}),
    ("a cache pre-warm", {"max_tokens": 0}),
    ("consecutive user turns", {"messages": [user(), user()]}),
    ("text blocks and an image", image(type="base64", media_type="image/png", data=PNG)),
    ("an image by https URL", image(type="url", url="https://example.com/a.png")),
    ("a document", {"messages": [user([PDF, {"type": "text", "text": "read it"}])]}),
    ("adaptive thinking", {"thinking": {"type": "adaptive"}}),
    ("adaptive thinking, not shown", {"thinking": {"type": "adaptive", "display": "omitted"}}),
    ("thinking off", {"thinking": {"type": "disabled"}}),
    ("effort", {"output_config": {"effort": "xhigh"}}),
    ("a budget", {"model": "claude-haiku-4-5", "thinking": {"type": "enabled", "budget_tokens": 1024}}),
    ("between_tools", {"model": "claude-sonnet-5-5", "thinking": {"type": "between_tools"}}),
    ("a dated id", {"model": "claude-haiku-4-5-20251001"}),
    ("prefill on 4.5", {"model": "claude-opus-4-5", "messages": [user(), assistant("The answer is")]}),
    ("a system turn", {"messages": [user(), assistant(), {"role": "system", "content": "x"}, user()]}),
    ("a system prompt in blocks", {"system": [{"type": "text", "text": "x", "cache_control": MARK}]}),
    ("top-level cache_control", {"cache_control": {"type": "ephemeral", "ttl": "1h"}}),
    ("tools", {"tools": [TOOL]}),
    ("a forced tool", {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look"}}),
    ("a server tool", {"tools": [{"type": "web_search_20260318", "name": "web_search"}]}),
    ("a tool's result", {"messages": [user(), assistant([CALL]), user([RESULT])], "tools": [TOOL]}),
    ("a structured answer", shaped(CLOSED)),
    ("anyOf and null", shaped({"anyOf": [CLOSED, {"type": "null"}]})),
    ("stop sequences", {"stop_sequences": ["END"]}),
    ("a user id", {"metadata": {"user_id": "u1"}}),
]

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("max_tokens missing", {"max_tokens": None}, "max_tokens: Field required"),
    ("max_tokens negative", {"max_tokens": -1}, "max_tokens: Input should be greater"),
    ("max_tokens a text", {"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
    ("max_tokens true", {"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    ("max_tokens over the cap", {"max_tokens": 500_000}, "max_tokens: 500000 > 128000"),
    ("model missing", {"model": None}, "model: Field required"),
    ("an unknown field", {"frequency_penalty": 0}, "frequency_penalty: Extra inputs"),
    ("a beta field without a beta", {"context_management": {}}, "context_management: Extra inputs"),
    ("temperature at its default", {"temperature": 1}, "temperature: "),
    ("top_p", {"top_p": 0.5}, "top_p: "),
    ("top_k", {"top_k": 5}, "top_k: "),
    ("messages missing", {"messages": None}, "messages: Field required"),
    ("messages empty", {"messages": []}, "messages: at least one"),
    ("assistant first", {"messages": [assistant(), user()]}, "first message must use"),
    ("a developer turn", {"messages": [{"role": "developer", "content": "x"}]}, "messages.0.role"),
    ("a name on a message", {"messages": [{**user(), "name": "x"}]}, "messages.0.name: Extra"),
    ("a system turn on Sonnet 5", {"model": "claude-sonnet-5", "messages": [
        user(), {"role": "system", "content": "x"}, user()]}, "messages.1: role 'system'"),
    ("empty content", {"messages": [user("")]}, "non-empty content"),
    ("an empty text block", {"messages": [user([{"type": "text", "text": ""}])]}, "must be non-empty"),
    ("a blank text block", {"messages": [user([{"type": "text", "text": " "}])]}, "non-whitespace"),
    ("an empty system block", {"system": [{"type": "text", "text": ""}]}, "system: text content"),
    ("prefill", {"messages": [user(), assistant()]}, "does not support assistant message prefill"),
    ("an orphan tool_use", {"messages": [user(), assistant([CALL]), user()]}, "without `tool_result`"),
    ("an orphan tool_result", {"messages": [user([RESULT])]}, "unexpected `tool_use_id`"),
    ("text before the result", {"messages": [
        user(), assistant([CALL]), user([{"type": "text", "text": "x"}, RESULT])]}, "must come first"),
    ("a bad tool id", {"messages": [
        user(), assistant([{**CALL, "id": "a.b"}]), user([{**RESULT, "tool_use_id": "a.b"}])]}, "pattern"),
    ("tool arguments as text", {"messages": [
        user(), assistant([{**CALL, "input": "{}"}]), user([RESULT])]}, "tool_use.input"),
    ("a tool result by an assistant", {"messages": [user(), assistant([RESULT]), user()]}, "'tool_result'"),
    ("a tool call by a user", {"messages": [user([CALL])]}, "Input tag 'tool_use'"),
    ("a document by an assistant", {"messages": [user(), assistant([PDF]), user()]}, "`document` blocks"),
    ("citations by a user", {"messages": [
        user([{"type": "text", "text": "x", "citations": [{}]}])]}, "text.citations"),
    ("an image type", image(type="base64", media_type="image/bmp", data=PNG), "media_type"),
    ("bad base64", image(type="base64", media_type="image/png", data="%%"), "invalid base64"),
    ("an http image", image(type="url", url="http://example.com/a.png"), "HTTPS"),
    ("duplicate tools", {"tools": [TOOL, TOOL]}, "Tool names must be unique"),
    ("a tool name", {"tools": [{**TOOL, "name": "a.b"}]}, "tools.0.custom.name"),
    ("a long tool name", {"tools": [{**TOOL, "name": "a" * 129}]}, "tools.0.custom.name"),
    ("a schema without type", {"tools": [{**TOOL, "input_schema": {}}]}, "input_schema.type: Field"),
    ("an OpenAI tool", {"tools": [{"type": "custom", "function": {}}]}, "tools.0.custom.function: Extra"),
    ("a strict tool with an open schema", {"tools": [{
        **TOOL, "strict": True}]}, "additionalProperties"),
    ("tool_choice alone", {"tool_choice": {"type": "auto"}}, "tool_choice: may only be"),
    ("tool_choice as text", {"tools": [TOOL], "tool_choice": "auto"}, "tool_choice: "),
    ("an unknown tool", {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "not found"),
    ("forced tools on Opus 5.5", {"model": "claude-opus-5-5", "tools": [TOOL],
        "tool_choice": {"type": "any"}}, "tool_choice: 'any'"),
    ("forced tools on Sonnet 5.5", {"model": "claude-sonnet-5-5", "tools": [TOOL],
        "tool_choice": {"type": "tool", "name": "look"}}, "tool_choice: 'tool'"),
    ("forced tools while thinking", {"model": "claude-opus-4-5", "tools": [TOOL],
        "tool_choice": {"type": "any"},
        "thinking": {"type": "enabled", "budget_tokens": 1024}}, "Thinking may"),
    ("adaptive on 4.5",
        {"model": "claude-opus-4-5", "thinking": {"type": "adaptive"}}, "thinking.type.adaptive"),
    ("a budget on Opus 5", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.type.enabled"),
    ("thinking off on Opus 5.5", {"model": "claude-opus-5-5", "thinking": {"type": "disabled"}}, "disabled"),
    ("thinking off on Sonnet 5.5",
        {"model": "claude-sonnet-5-5", "thinking": {"type": "disabled"}}, "disabled"),
    ("thinking off at max effort", {"thinking": {"type": "disabled"},
        "output_config": {"effort": "max"}}, "effort high or below"),
    ("a small budget", {"model": "claude-opus-4-5",
        "thinking": {"type": "enabled", "budget_tokens": 1023}}, "greater than or equal to 1024"),
    ("a budget over max_tokens", {"model": "claude-opus-4-5",
        "thinking": {"type": "enabled", "budget_tokens": 4000}}, "`max_tokens` must be greater"),
    ("an effort level", {"output_config": {"effort": "minimal"}}, "output_config.effort"),
    ("effort on Haiku 4.5", {"model": "claude-haiku-4-5", "output_config": {"effort": "low"}}, "effort"),
    ("xhigh on Opus 4.6", {"model": "claude-opus-4-6", "output_config": {"effort": "xhigh"}}, "'xhigh'"),
    ("an open object", shaped(OPEN_OBJECT), "additionalProperties"),
    ("an open object inside", shaped({"type": "array", "items": OPEN_OBJECT}), "schema.items"),
    ("oneOf", shaped({"oneOf": [CLOSED]}), "oneOf"),
    ("minLength", shaped({"type": "string", "minLength": 3}), "'minLength' is not supported"),
    ("minItems 2", shaped({"type": "array", "items": CLOSED, "minItems": 2}), "minItems"),
    ("a json_object", {"output_config": {"format": {"type": "json_object"}}}, "format.type"),
    ("five cache marks", {"system": [{"type": "text", "text": "x", "cache_control": MARK}] * 5}, "Found 5"),
    ("a cache ttl", {"cache_control": {"type": "ephemeral", "ttl": "2h"}}, "ttl"),
    ("a blank stop sequence", {"stop_sequences": ["\n"]}, "non-whitespace"),
    ("metadata", {"metadata": {"email": "x"}}, "metadata.email: Extra inputs"),
    ("a service tier", {"service_tier": "default"}, "service_tier"),
    ("a prompt beyond the window", {
        "model": "claude-haiku-4-5", "messages": [user("x" * 900_000)]}, "prompt is too long: 2"),
]  # fmt: skip


@pytest.mark.parametrize("fields", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_what_the_api_accepts_is_accepted(fields: dict[str, Any]) -> None:
    assert check(request(**fields), HEADERS) is None


@pytest.mark.parametrize(("fields", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_the_api_refuses_is_refused(fields: dict[str, Any], message: str) -> None:
    refusal = check(request(**fields), HEADERS)
    assert refusal is not None
    assert (refusal.status, refusal.type) == (400, "invalid_request_error")
    assert message in refusal.message


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"anthropic-version": "2026-10-21"}, 401),
        ({"authorization": "Bearer ", "anthropic-version": "2026-10-21"}, 401),
        ({"x-api-key": "k"}, 400),
        ({"x-api-key": "k", "anthropic-version": "2021-01-01"}, 400),
    ],
)
def test_a_key_and_a_known_version_are_needed(headers: dict[str, str], status: int) -> None:
    refusal = check(request(), headers)
    assert refusal is not None
    assert refusal.status == status


def test_the_key_may_come_as_a_bearer_token() -> None:
    assert check(request(), {"authorization": "Bearer k", "anthropic-version": "2026-10-21"}) is None


@pytest.mark.parametrize("model", ["claude-opus-4-0", "claude-3-7-sonnet-20250219", "gpt-5", "sonnet"])
def test_retired_and_unknown_models_are_not_found(model: str) -> None:
    refusal = check(request(model=model), HEADERS)
    assert refusal is not None
    assert (refusal.status, refusal.type) == (404, "not_found_error")
    assert model in refusal.message


def test_sampling_is_a_matter_of_version_and_model() -> None:
    assert check(request(model="claude-opus-4-5", temperature=0.2), OLD) is None
    assert check(request(model="claude-opus-4-7", temperature=1), OLD) is None
    assert check(request(model="claude-opus-4-7", temperature=0.2), OLD) is not None
    assert check(request(model="claude-opus-4-5", temperature=0.2), HEADERS) is not None


def test_beta_fields_pass_with_a_beta_header() -> None:
    assert check(request(context_management={}), {**HEADERS, "anthropic-beta": "x-2026-01-01"}) is None


def test_counting_needs_no_max_tokens_and_takes_no_stream() -> None:
    counted = request(max_tokens=None)
    assert check(counted, HEADERS, counting=True) is None
    assert check({**counted, "stream": True}, HEADERS, counting=True) is not None


def thought(model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A request that thinks and the assistant content that answers it."""
    asked = request(model=model, thinking={"type": "adaptive"}, system="be brief")
    return asked, list(Planner().plan(asked).content)


def test_a_thinking_block_comes_back_unchanged_or_not_at_all() -> None:
    asked, content = thought("claude-opus-5")
    turns = [*asked["messages"], assistant(content), user("go on")]
    assert check({**asked, "messages": turns}, HEADERS) is None
    forged = [{**content[0], "thinking": "something else"}, *content[1:]]
    refusal = check({**asked, "messages": [user(), assistant(forged), user()]}, HEADERS)
    assert refusal is not None
    assert "cannot be modified" in refusal.message
    unsigned = [{**content[0], "signature": "abc"}, *content[1:]]
    refusal = check({**asked, "messages": [user(), assistant(unsigned), user()]}, HEADERS)
    assert refusal is not None
    assert "Invalid `signature`" in refusal.message


def test_on_the_newest_models_thinking_is_bound_to_its_prefix() -> None:
    asked, content = thought("claude-opus-5-5")
    turns = [*asked["messages"], assistant(content), user("go on")]
    assert check({**asked, "messages": turns}, HEADERS) is None
    refusal = check({**asked, "system": "be long", "messages": turns}, HEADERS)
    assert refusal is not None
    assert "bound to a different conversation" in refusal.message
    # A cache mark that moves is no change of the prefix.
    marked = [{"type": "text", "text": "be brief", "cache_control": MARK}]
    assert check({**asked, "system": marked, "messages": turns}, HEADERS) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control",
          "stop_sequences", "metadata", "max_tokens", "model", "stream")  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4))
def test_no_request_can_break_the_check(fields: dict[str, Any]) -> None:
    check({**request(), **fields}, HEADERS)


@given(
    st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking", "nonsense"]),
    st.dictionaries(
        st.sampled_from(["text", "source", "id", "input", "name", "content", "signature", "thinking",
                         "tool_use_id", "cache_control", "citations"]),
        json_values,
        max_size=4,
    ),
    st.sampled_from(["user", "assistant", "system"]),
)  # fmt: skip
def test_no_block_can_break_the_check(kind: str, fields: dict[str, Any], role: str) -> None:
    check(request(messages=[user(), {"role": role, "content": [{**fields, "type": kind}]}]), HEADERS)


@given(json_values, json_values)
def test_no_schema_can_break_the_check(schema: Any, inner: Any) -> None:
    check(request(**shaped(schema)), HEADERS)
    for keyword in ("$defs", "anyOf", "allOf", "properties", "required", "items", "type", "enum"):
        check(request(**shaped({"type": "object", "additionalProperties": False, keyword: inner})), HEADERS)
        check(
            request(tools=[{**TOOL, "strict": True, "input_schema": {"type": "object", keyword: inner}}]),
            HEADERS,
        )


def test_a_system_turn_has_an_effort_of_its_own_only_with_the_beta_that_brings_it() -> None:
    turn = {"role": "system", "content": "x", "output_config": {"effort": "low"}}
    body = request(messages=[user(), turn])
    refusal = check(body, {**HEADERS, "anthropic-beta": "effort-2025-11-24"})
    assert refusal is not None
    assert refusal.message == "messages.1.output_config: Extra inputs are not permitted"
    betas = "effort-2025-11-24,per-turn-control-2026-07-01"
    assert check(body, {**HEADERS, "anthropic-beta": betas}) is None
    said = request(messages=[{**user(), "output_config": {"effort": "low"}}])
    assert check(said, {**HEADERS, "anthropic-beta": betas}) is not None


BINDING = {**HEADERS, "anthropic-beta": "effort-2025-11-24,thinking-binding-controls-2026-08-01"}


def moved(behaviour: Any, *, text: str = "think") -> dict[str, Any]:
    """A conversation whose system prompt has changed since the model thought in it."""
    asked = request(model="claude-opus-5-5", thinking={"type": "adaptive"}, system="be brief")
    (thought, *rest) = Planner().plan(asked).content
    thinking: dict[str, Any] = {"type": "adaptive"}
    if behaviour is not None:
        thinking["block_binding"] = {"prefix_mismatch_behavior": behaviour}
    content = [{**thought, "thinking": text} if text != "think" else thought, *rest]
    return {
        **asked,
        "thinking": thinking,
        "system": "be long",
        "messages": [user(), assistant(content), user()],
    }


def test_a_beta_lets_blocks_of_another_conversation_be_dropped() -> None:
    for behaviour in (None, "error"):
        refusal = check(moved(behaviour), BINDING)
        assert refusal is not None
        assert "bound to a different conversation" in refusal.message
        assert dropped_thinking(moved(behaviour)) == []
    assert check(moved("drop_block"), BINDING) is None
    assert dropped_thinking(moved("drop_block")) == ["messages.1.content.0"]


def test_a_block_that_was_changed_itself_is_refused_all_the_same() -> None:
    refusal = check(moved("drop_block", text="forged"), BINDING)
    assert refusal is not None
    assert "cannot be modified" in refusal.message


def test_without_its_beta_block_binding_is_an_extra_input() -> None:
    refusal = check(moved("drop_block"), {**HEADERS, "anthropic-beta": "effort-2025-11-24"})
    assert refusal is not None
    assert refusal.message == "thinking.adaptive.block_binding: Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("binding", "accepted"),
    [(None, True), ({}, True), ({"prefix_mismatch_behavior": None}, True), ("drop_block", False)],
)
def test_every_field_of_block_binding_is_optional(binding: Any, accepted: bool) -> None:
    asked = request(thinking={"type": "adaptive", "block_binding": binding})
    assert (check(asked, BINDING) is None) is accepted


def test_block_binding_takes_nothing_else() -> None:
    for binding in ({"prefix_mismatch_behavior": "keep"}, {"suffix_mismatch_behavior": "error"}):
        assert check(request(thinking={"type": "adaptive", "block_binding": binding}), BINDING) is not None


def test_what_claude_code_sends_is_accepted() -> None:
    """The shape of a first turn of claude-code 2.1.330, as captured, and of one that has a safeguard."""
    betas = (
        "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
        "per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,"
        "advanced-tool-use-2025-11-20,effort-2025-11-24"
    )
    headers = {**OLD, "anthropic-beta": betas}
    first = request(
        model="claude-sonnet-5-5",
        max_tokens=128_000,
        stream=True,
        system=[
            {
                "type": "text",
                "text": "x-anthropic-billing-header: cc_version=2.1.330.572; cc_entrypoint=sdk-cli;",
            },
            {"type": "text", "text": "You are a Claude agent.", "cache_control": MARK},
        ],
        messages=[
            user([{"type": "text", "text": "hello", "cache_control": MARK}]),
            {"role": "system", "content": [{"type": "text", "text": "<system-reminder>…</system-reminder>"}]},
        ],
        tools=[{**TOOL, "description": "look", "defer_loading": True}],
        metadata={"user_id": '{"device_id":"37d9","account_uuid":"","session_id":"bdbc"}'},
        thinking={"type": "adaptive", "display": "omitted"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        output_config={"effort": "medium"},
    )
    assert check(first, headers) is None
    assert check({**first, "safeguards": {"level": "x"}, "speed": "fast"}, headers) is None
    for name in ("context_management", "safeguards"):
        refusal = check({**request(), name: {}}, OLD)
        assert refusal is not None
        assert refusal.message == f"{name}: Extra inputs are not permitted"


def test_counting_takes_the_same_request_without_what_only_an_answer_needs() -> None:
    asked = request(tools=[TOOL], system="be brief", thinking={"type": "adaptive"}, max_tokens=None)
    assert check(asked, HEADERS, counting=True) is None
    for name in ("max_tokens", "stream", "metadata", "stop_sequences"):
        refusal = check({**asked, name: 1}, HEADERS, counting=True)
        assert refusal is not None
        assert refusal.message == f"{name}: Extra inputs are not permitted"
    assert check({**asked, "messages": [assistant()]}, HEADERS, counting=True) is not None
