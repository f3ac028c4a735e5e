"""Promises of the Responses dialect that hold for every conversation."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from perf.simulated import check
from providers.anthropic.models import snapshot
from providers.errors import BadRequest
from providers.simulated.prefix import sign
from providers.translate.anthropic_chat import ChatTranslator
from providers.translate.chat_anthropic import API_VERSION, to_anthropic
from providers.translate.chat_ollama import to_ollama
from providers.translate.responses_chat import ResponsesRequest, to_chat
from providers.types import ModelInfo

from . import events as e
from .strategies import CACHE, IDS, JSON, NAMES, PDF, PNG, TEXT
from .test_chat_ollama import CODER

HEADERS = {"x-api-key": "k", "anthropic-version": API_VERSION}
OPUS = next(info for info in snapshot() if info.id == "claude-opus-5-5")

SAID = st.text(min_size=1, max_size=12).filter(lambda text: not text.isspace())
OBJECTS = st.dictionaries(st.text(max_size=4), st.one_of(st.integers(-9, 9), st.booleans(), TEXT), max_size=3)
#: A block of an answer of Claude's.
BLOCKS = st.one_of(
    st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": ""}, TEXT),
    st.builds(lambda d: {"type": "redacted_thinking", "data": d}, SAID),
    st.builds(lambda t: {"type": "text", "text": t}, SAID),
    st.builds(
        lambda n, i: {"type": "tool_use", "name": n, "input": i}, st.sampled_from(["run", "ns__t"]), OBJECTS
    ),
)
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "run", "parameters": {"type": "object", "properties": {}}},
    {"type": "custom", "name": "patch"},
    {"type": "namespace", "name": "ns", "description": "d", "tools": [{"type": "function", "name": "t"}]},
    {"type": "shell"},
    {"type": "web_search"},
]


def events_of(blocks: list[dict[str, Any]]) -> bytes:
    """The stream in which Claude answers with ``blocks``."""
    found: list[e.Event] = [e.start()]
    for index, block in enumerate(blocks):
        match block["type"]:
            case "text":
                found += e.text(index, block["text"])
            case "thinking":
                found += [e.opened(index, type="thinking", thinking="", signature="")]
                found += [e.delta(index, "thinking_delta", thinking=block["thinking"])]
                found += [e.delta(index, "signature_delta", signature=block["signature"]), e.closed(index)]
            case "redacted_thinking":
                found += [e.opened(index, **block), e.closed(index)]
            case _:
                found += e.tool(index, block["id"], block["name"], orjson.dumps(block["input"]).decode())
    return e.stream(*found, *e.finish("end_turn"))


def answer(request: ResponsesRequest, blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of a response whose upstream answered with ``blocks``, whose thinking it signs."""
    asked = to_anthropic(request.body, model=OPUS.id, info=OPUS)
    for block in blocks:
        if block["type"] == "thinking":
            block["signature"] = sign(asked.body, asked.body["messages"], block["thinking"])
    translator = ChatTranslator(model="opus", shape=asked.reply, streaming=False, writer=request.writer)
    translator.feed(events_of(blocks))
    found: list[dict[str, Any]] = translator.completion()["output"]
    return found


@st.composite
def turns(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Answers of Claude's, each of which ends in something else than thinking."""
    found = []
    count = 0
    for _ in range(draw(st.integers(1, 3))):
        blocks = copy.deepcopy(draw(st.lists(BLOCKS, min_size=1, max_size=5)))
        blocks.append({"type": "text", "text": draw(SAID)})
        for block in blocks:
            if block["type"] == "tool_use":
                block["id"] = f"toolu_{count}"
                count += 1
        found.append(blocks)
    return found


@given(turns())
def test_what_claude_said_comes_back_to_it_as_it_was(conversation: list[list[dict[str, Any]]]) -> None:
    items: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
    make = partial(to_chat, model=OPUS.id, signed=True)
    for blocks in conversation:
        output = answer(make({"model": "opus", "tools": TOOLS, "input": items}), blocks)
        assert len(output) == len(blocks)
        items += output
        items += [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
            for item in output
            if item["type"] == "function_call"
        ]
        items.append({"role": "user", "content": "Go on."})
    chat = make({"model": "opus", "tools": TOOLS, "input": items}).body
    request = to_anthropic(chat, model=OPUS.id, info=OPUS)
    said = [message["content"] for message in request.body["messages"] if message["role"] == "assistant"]
    assert said == conversation
    assert check(orjson.loads(request.encode()), HEADERS) is None


def _text_part(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda t, c: {"type": kind, "text": t, **({"cache_control": c} if c else {})}, TEXT, CACHE
    )


PARTS = st.lists(
    st.one_of(
        _text_part("input_text"),
        st.just({"type": "input_image", "image_url": PNG, "detail": "auto"}),
        st.just({"type": "input_file", "file_data": PDF, "filename": "a.pdf"}),
    ),
    max_size=3,
)
ITEMS = st.lists(
    st.one_of(
        st.builds(
            lambda r, c: {"role": r, "content": c},
            st.sampled_from(["user", "system", "developer", "assistant"]),
            TEXT,
        ),
        st.builds(lambda c: {"type": "message", "role": "user", "content": c}, PARTS),
        st.builds(
            lambda c: {"type": "message", "role": "assistant", "content": c},
            st.lists(_text_part("output_text"), max_size=2),
        ),
        st.builds(
            lambda i, n, a: {"type": "function_call", "call_id": i, "name": n, "arguments": a},
            IDS,
            NAMES,
            st.sampled_from(["", "{}", '{"a":1}', "[1]", "not json"]),
        ),
        st.builds(
            lambda i, t: {"type": "custom_tool_call", "call_id": i, "name": "patch", "input": t}, IDS, TEXT
        ),
        st.builds(
            lambda k, i, o: {"type": k, "call_id": i, "output": o},
            st.sampled_from(["function_call_output", "custom_tool_call_output"]),
            IDS,
            st.one_of(TEXT, st.lists(_text_part("input_text"), max_size=2)),
        ),
        st.builds(
            lambda t, b: {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": t}],
                "encrypted_content": b,
            },
            TEXT,
            st.one_of(st.none(), TEXT, st.just("gw1.AAAA")),
        ),
        st.just({"type": "shell_call", "call_id": "sh", "action": {"commands": ["ls"]}}),
        st.just({"type": "web_search_call", "id": "ws", "status": "completed"}),
    ),
    min_size=1,
    max_size=8,
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "input": ITEMS},
    optional={
        "instructions": TEXT,
        "tools": st.lists(st.sampled_from(TOOLS), max_size=4),
        "tool_choice": st.sampled_from(["auto", "none", {"type": "web_search"}]),
        "reasoning": st.sampled_from([{"effort": "high"}, {"summary": "auto"}]),
        "max_output_tokens": st.integers(1, 10_000),
        "text": st.sampled_from([{"format": {"type": "text"}}, {"verbosity": "low"}]),
        "store": st.booleans(),
        "stream": st.booleans(),
    },
)


@given(BODIES, st.sampled_from(snapshot()))
def test_the_strict_api_accepts_every_request(body: dict[str, Any], info: ModelInfo) -> None:
    given = copy.deepcopy(body)
    try:
        chat = to_chat(body, model=info.id, signed=True).body
    except BadRequest as error:
        assert error.param == "input"  # nothing of it can be told  # noqa: PT017
        return
    request = to_anthropic(chat, model=info.id, info=info)
    refusal = check(orjson.loads(request.encode()), HEADERS)
    assert refusal is None or "not_found" in refusal.type, (refusal, request.body)
    assert body == given


@given(BODIES, ITEMS, st.booleans())
def test_a_longer_conversation_begins_as_the_shorter_one_did(
    body: dict[str, Any], more: list[dict[str, Any]], signed: bool
) -> None:
    end = [{"role": "user", "content": "x"}]
    short = to_chat({**body, "input": body["input"] + end}, model="m", signed=signed).body
    long = to_chat({**body, "input": body["input"] + end + more}, model="m", signed=signed).body
    assert long["messages"][: len(short["messages"])] == short["messages"]
    assert long.get("tools") == short.get("tools")
    again = to_chat({**body, "input": body["input"] + end}, model="m", signed=signed).body
    assert orjson.dumps(again) == orjson.dumps(short)


_KEYS = st.sampled_from(
    [
        *("type", "role", "content", "id", "call_id", "name", "namespace", "arguments", "input", "output"),
        *("summary", "text", "encrypted_content", "action", "operation", "tools", "tool_calls", "function"),
        *("custom", "image_url", "file_data", "format", "mode", "effort", "schema", "parameters", "status"),
        *("prompt_cache_breakpoint", "tool_use_id", "is_error", "thinking"),
    ]
)
_WORDS = st.sampled_from(
    [
        *("message", "user", "assistant", "tool", "developer", "reasoning", "function_call"),
        *("function_call_output", "custom_tool_call", "shell_call", "shell_call_output", "apply_patch_call"),
        *("local_shell_call", "tool_search_output", "input_text", "output_text", "input_image", "input_file"),
        *("tool_use", "tool_result", "thinking", "function", "custom", "namespace", "shell", "json_schema"),
        *("allowed_tools", "grammar"),
    ]
)
_PARAMETERS = (
    *("tools", "tool_choice", "reasoning", "text", "include", "instructions", "metadata", "stream"),
    *("background", "max_output_tokens"),
)
HOSTILE = st.recursive(
    st.one_of(JSON, _WORDS, st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(_KEYS, st.text(max_size=3)), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(
    st.fixed_dictionaries(
        {"input": st.one_of(HOSTILE, st.lists(st.dictionaries(_KEYS, HOSTILE, max_size=5), max_size=3))},
        optional=dict.fromkeys(_PARAMETERS, HOSTILE),
    ),
    st.booleans(),
)
def test_only_bad_request_escapes_from_a_hostile_body(body: dict[str, Any], signed: bool) -> None:
    try:
        request = to_chat(body, model=OPUS.id, signed=signed)
        made = request.writer(streaming=True, include_usage=False, legacy=False)
        made.start("x", 1, "m")
        if signed:
            to_anthropic(request.body, model=OPUS.id, info=OPUS).encode()
        else:
            to_ollama(request.body, model=CODER.id, info=CODER).encode()
    except BadRequest as error:
        assert error.status == 400  # noqa: PT017
        assert error.message  # noqa: PT017
