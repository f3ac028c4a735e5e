"""Whatever JSON the simulated APIs are sent, they answer, or refuse it as the real ones do: a 500 would be a
fault of their own."""

from __future__ import annotations

import copy
from typing import Any, get_args

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perf.simulated.api import Api
from perf.simulated.ledger import Received
from perf.simulated.openai.models import Quirk

PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
CLAUDE: dict[str, Any] = {
    "model": "claude-opus-4-6",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "look", "description": "Looks.", "input_schema": CLOSED, "strict": True}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": CLOSED}},
    "stop_sequences": ["X"],
    "metadata": {"user_id": "u"},
    "stream": False,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "search_result", "source": "a", "title": "b", "content": []},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": "b"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "A tree."}],
                    "is_error": False,
                },
                {"type": "text", "text": "And?"},
            ],
        },
    ],
}
CHAT: dict[str, Any] = {
    "model": "gpt-5.1",
    "max_completion_tokens": 100,
    "n": 1,
    "stop": ["X"],
    "reasoning_effort": "low",
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}},
        {"type": "custom", "custom": {"name": "write", "format": {"type": "text"}}},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]},
    },
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    "stream": False,
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "write", "input": "x"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "A tree."}]},
        {"role": "tool", "tool_call_id": "c2", "content": "ok"},
        {"role": "user", "content": "And?"},
    ],
}
NAMED = {**CHAT, "tool_choice": {"type": "function", "function": {"name": "look"}}}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/messages", CLAUDE),
    ("/v1/messages/count_tokens", {"model": "claude-opus-4-6", "messages": CLAUDE["messages"]}),
    ("/openai/v1/chat/completions", CHAT),
    ("/openai/v1/chat/completions", NAMED),
    (
        "/openai/v1/completions",
        {"model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"], "n": 2, "best_of": 2, "stop": "X"},
    ),
    (
        "/openai/v1/embeddings",
        {"model": "text-embedding-3-small", "input": ["a"], "dimensions": 2, "encoding_format": "base64"},
    ),
]
QUIRKY: list[tuple[str, dict[str, Any]]] = [
    ("/openai/v1/chat/completions", {**NAMED, "reasoning_effort": None, "model": f"quirk-{quirk}"})
    for quirk in get_args(Quirk)
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(
        [0, 1, -1, 5, 2**53, 0.5, "", " ", "x", "text", "function", "custom", "object", "user"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "x"]), inner),
    max_leaves=4,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, inner in items for place in places(inner, (*at, key)))]


def with_value(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    """``body`` with ``value`` at the path ``at``."""
    if not at:
        return value
    body = copy.deepcopy(body)
    holder = body
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value
    return body


ODD = (st.sampled_from(REQUESTS) | st.sampled_from(QUIRKY)).flatmap(
    lambda request: st.tuples(
        st.just(request[0]),
        st.builds(with_value, st.just(request[1]), st.sampled_from(places(request[1])), JSON),
    )
)
HEADERS = {"x-api-key": "k", "authorization": "Bearer k", "anthropic-version": "2026-10-21"}


def asked(path: str, body: Any, *, strict: bool = True) -> tuple[int, bytes]:
    """The status and the beginning of the answer."""
    program = Api(strict=strict).handle(Received("POST", path, HEADERS, orjson.dumps(body), "req_1"))
    return program.status, program.head


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_the_requests_that_are_changed_here_are_right_as_they_are(path: str, body: dict[str, Any]) -> None:
    assert asked(path, body)[0] == 200, asked(path, body)[1]


@given(ODD)
@example(("/openai/v1/chat/completions", {**CHAT, "messages": 5}))
@example(("/openai/v1/chat/completions", {**CHAT, "tools": 5}))
@example(("/openai/v1/chat/completions", with_value(CHAT, ("messages", 2, "tool_calls"), 5)))
@example(("/v1/messages", with_value(CLAUDE, ("tools", 0, "name"), [])))
@example(("/v1/messages", with_value(CLAUDE, ("tools", 0), {"type": {}, "name": {}})))
def test_no_json_is_a_fault_of_a_strict_simulation(odd: tuple[str, Any]) -> None:
    status, answer = asked(*odd)
    assert status < 500 or b"Failed to parse tools" in answer or b"raise_exception" in answer
    assert b"simulation:" not in answer  # judged, and not only stumbled over


@given(ODD)
def test_no_json_is_a_fault_of_a_lenient_simulation(odd: tuple[str, Any]) -> None:
    assert asked(*odd, strict=False)[0] < 500
