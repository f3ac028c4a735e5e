"""Chat requests that a client might send, and ones that nobody should."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from providers.anthropic.models import snapshot

MODELS = st.sampled_from(snapshot())

#: Blank and empty ones among them on purpose.
TEXT = st.one_of(
    st.sampled_from(["", " ", "\n", "hi", "Bitte höflich 👋", '"quoted" \\ back']), st.text(max_size=12)
)
IDS = st.one_of(st.sampled_from(["call_0", "call_1", "toolu_01", "weird id!", "", "é"]), st.text(max_size=6))
NAMES = st.sampled_from(["read_file", "run", "mcp.server/tool", "x" * 70, "größe", "run_2"])
CACHE = st.sampled_from([None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="


def _text_part() -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda t, c: {"type": "text", "text": t, **({"cache_control": c} if c else {})}, TEXT, CACHE
    )


USER_PARTS = st.lists(
    st.one_of(
        _text_part(),
        st.just({"type": "image_url", "image_url": {"url": PNG}}),
        st.just({"type": "image_url", "image_url": {"url": "https://example.com/cat.png", "detail": "low"}}),
        st.just({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}),
    ),
    max_size=3,
)
ARGUMENTS = st.one_of(
    st.sampled_from(
        ["", "{}", '{"path": "a.py"}', "[1]", "not json", '{"n": 1e5, "big": 12345678901234567890123}']
    ),
    TEXT,
)


@st.composite
def tool_calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    calls = []
    for _ in range(draw(st.integers(1, 3))):
        call: dict[str, Any] = {
            "id": draw(IDS),
            "type": "function",
            "function": {"name": draw(NAMES), "arguments": draw(ARGUMENTS)},
        }
        if mark := draw(CACHE):
            call["cache_control"] = mark
        calls.append(call)
    return calls


@st.composite
def messages(draw: st.DrawFn, max_size: int = 12) -> list[dict[str, Any]]:
    """Mostly sensible, with every disorder that clients are known for."""
    out: list[dict[str, Any]] = []
    open_ids: list[str] = []
    for _ in range(draw(st.integers(1, max_size))):
        role = draw(
            st.sampled_from(["system", "developer", "user", "user", "assistant", "assistant", "tool", "tool"])
        )
        message: dict[str, Any] = {"role": role}
        if role == "user":
            message["content"] = draw(st.one_of(TEXT, USER_PARTS))
        elif role == "assistant":
            message["content"] = draw(st.one_of(st.none(), TEXT, st.lists(_text_part(), max_size=2)))
            if draw(st.integers(0, 1)):
                message["tool_calls"] = draw(tool_calls())
                open_ids = [call["id"] for call in message["tool_calls"]]
            elif draw(st.integers(0, 5)) == 0:
                message["function_call"] = {"name": draw(NAMES), "arguments": draw(ARGUMENTS)}
        elif role == "tool":
            message["content"] = draw(st.one_of(TEXT, USER_PARTS))
            message["tool_call_id"] = draw(st.one_of(st.sampled_from(open_ids), IDS) if open_ids else IDS)
        else:
            message["content"] = draw(st.one_of(TEXT, st.lists(_text_part(), max_size=2)))
        if draw(st.integers(0, 4)) == 0:
            message["cache_control"] = {"type": "ephemeral"}
        out.append(message)
    return out


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string", "format": "uri", "minLength": 1},
            {"type": "integer", "minimum": 0},
            {"type": ["string", "null"], "pattern": "a+"},
            {"enum": ["a", 1, None]},
            {"const": "x"},
            {},
            True,
            {"$ref": "#/$defs/node"},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda i: {"type": "array", "items": i, "minItems": 2, "uniqueItems": True}, inner),
        st.builds(
            lambda a, b: {
                "type": "object",
                "properties": {"a": a, "b": b},
                "required": ["a", "missing"],
                "additionalProperties": {"type": "string"},
            },
            inner,
            inner,
        ),
        st.builds(lambda a, b: {"oneOf": [a, b], "default": 1}, inner, inner),
        st.builds(lambda a: {"allOf": [a], "title": "T"}, inner),
    ),
    max_leaves=6,
)
OBJECT_SCHEMAS = st.builds(
    lambda inner: {"type": "object", "properties": {"p": inner}, "$defs": {"node": {"type": "object"}}},
    SCHEMAS,
)

TOOLS = st.lists(
    st.one_of(
        st.builds(
            lambda n, p, s: {"type": "function", "function": {"name": n, "parameters": p, "strict": s}},
            NAMES,
            st.one_of(st.none(), OBJECT_SCHEMAS),
            st.booleans(),
        ),
        st.builds(lambda n: {"type": "function", "name": n, "description": "flat"}, NAMES),
        st.builds(
            lambda n: {"name": n, "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}},
            NAMES,
        ),
        st.builds(lambda n: {"type": "custom", "custom": {"name": n}}, NAMES),
    ),
    max_size=4,
    unique_by=lambda tool: tool.get("name") or (tool.get("function") or tool.get("custom"))["name"],
)
FORMATS = st.one_of(
    st.just({"type": "text"}),
    st.just({"type": "json_object"}),
    st.builds(
        lambda s: {"type": "json_schema", "json_schema": {"name": "n", "schema": s, "strict": True}},
        OBJECT_SCHEMAS,
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A whole request that is valid by OpenAI's own description of it."""
    body: dict[str, Any] = {"model": "opus", "messages": draw(messages())}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "tools": TOOLS,
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
        "max_tokens": st.integers(1, 300_000),
        "max_completion_tokens": st.integers(1, 300_000),
        "temperature": st.floats(0, 2),
        "stop": st.one_of(TEXT, st.lists(TEXT, max_size=3)),
        "user": TEXT,
        "response_format": FORMATS,
        "parallel_tool_calls": st.booleans(),
        "service_tier": st.sampled_from(["auto", "default", "flex"]),
        "seed": st.integers(),
    }
    for name, values in optional.items():
        if draw(st.integers(0, 2)) == 0:
            body[name] = draw(values)
    names = [t.get("name") or (t.get("function") or t.get("custom"))["name"] for t in body.get("tools", [])]
    if draw(st.booleans()) and names:
        body["tool_choice"] = draw(
            st.one_of(
                st.sampled_from(["none", "auto", "required"]),
                st.builds(lambda n: {"type": "function", "function": {"name": n}}, st.sampled_from(names)),
                st.builds(
                    lambda n, m: {
                        "type": "allowed_tools",
                        "allowed_tools": {
                            "mode": m,
                            "tools": [{"type": "function", "function": {"name": n}}],
                        },
                    },
                    st.sampled_from(names),
                    st.sampled_from(["auto", "required"]),
                ),
            )
        )
    return body


#: JSON of any shape, with what JSON cannot hold beside it (parsers differ in what they let through).
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(
            ["user", "tool", "function", "text", "image_url", "\ud800", "\x00", "data:", "ephemeral"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def hostile(draw: st.DrawFn) -> dict[str, Any]:
    """A sensible request in which one to three places hold something else."""
    body = copy.deepcopy(draw(requests()))  # constant values are shared between examples
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(body))
        holder, key = draw(st.sampled_from(places))
        if draw(st.integers(0, 6)) == 0 and isinstance(holder, dict):
            del holder[key]
        else:
            holder[key] = draw(JSON)
    return body


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)
