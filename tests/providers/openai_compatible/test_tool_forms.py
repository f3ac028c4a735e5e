"""Tools in the forms that stricter servers take, and names that come back as they were."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.openai_compatible.manner import Manner
from providers.openai_compatible.tool_forms import wire_names, wired
from providers.translate.message_writer import MessageWriter
from tests.providers.anthropic.sources import Client, Scripted

from .streams import DONE, ROLE, arguments, delta
from .test_adapter import COMPLETION, call, provider, read, refusal, sent, streamed, whole

pytestmark = pytest.mark.anyio

LONG = "mcp__plugin_chrome-devtools-mcp_chrome-devtools__get_console_message"
TOO_LONG = (
    "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got a "
    "string with length 67 instead."
)


def too_long() -> Scripted:
    return refusal(TOO_LONG, param="tools[0].function.name", code="string_above_max_length")


def function(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def calling(name: str) -> dict[str, Any]:
    made = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return {"role": "assistant", "content": "", "tool_calls": [made]}


BODY: dict[str, Any] = {
    "tools": [function(LONG), function("look")],
    "functions": [{"name": LONG}],
    "function_call": {"name": LONG},
    "tool_choice": {"type": "function", "function": {"name": LONG}},
    "messages": [
        calling(LONG),
        {"role": "tool", "tool_call_id": "c", "content": LONG},
        calling("look"),
        {"role": "function", "name": LONG, "content": ""},
    ],
}


def test_a_name_is_changed_wherever_it_is_one_and_nowhere_else() -> None:
    before = orjson.dumps(BODY)
    short = wire_names(BODY).wire(LONG)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", short)
    quoted = orjson.dumps(BODY["messages"][1]).decode()
    changed = before.decode().replace(f'"name":"{LONG}"', f'"name":"{short}"')
    assert quoted in changed
    assert wired(BODY, Manner(short_names=True)) == orjson.loads(changed)
    assert orjson.dumps(BODY) == before
    assert wired({"tools": [function("look")]}, Manner(short_names=True)) == {"tools": [function("look")]}


@given(names=st.lists(st.text(min_size=1, max_size=130), min_size=1, unique=True))
def test_names_stay_apart_and_come_back(names: list[str]) -> None:
    body = {"tools": [function(name) for name in names]}
    found = wired(body, Manner(short_names=True))["tools"]
    wire = [tool["function"]["name"] for tool in found]
    assert len(set(wire)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in wire)
    original = wire_names(body).original
    assert [original.get(name, name) for name in wire] == names


@pytest.mark.parametrize("writer", [None, MessageWriter])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_comes_back_under_the_name_that_the_caller_knows(writer: Any, stream: bool) -> None:
    short = wire_names(BODY).wire(LONG)
    made = delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": short, "arguments": ""}}])
    answers = [streamed(ROLE + made + arguments("{}") + delta(finish="tool_calls") + DONE) for _ in range(2)]
    client = Client(too_long(), *answers)
    upstream = provider(client)
    for _ in range(2):
        asked = call(stream=stream, tools=BODY["tools"], messages=BODY["messages"][:2])
        asked = type(asked)(asked.body, asked.model, asked.requested_model, writer=writer)
        reply = await upstream.chat(asked)
        said = (await read(reply)).decode() if stream else str(await reply.completion())
        assert LONG in said
        assert short not in said
        assert sent(client)["messages"][0]["tool_calls"][0]["function"]["name"] == short


async def test_short_names_cost_no_translation() -> None:
    client = Client(too_long(), *(streamed(ROLE + delta(finish="stop") + DONE) for _ in range(2)))
    upstream = provider(client)
    await read(await upstream.chat(call(stream=True, tools=[function(LONG)])))
    assert (
        await read(await upstream.chat(call(stream=True, tools=[function("look")])))
        == ROLE + delta(finish="stop") + DONE
    )


ALLOWED = {"mode": "auto", "tools": [function("b"), function("c")]}


@pytest.mark.parametrize(
    ("choice", "word", "kept"),
    [
        (function("b"), "required", "b"),
        ({"type": "allowed_tools", "allowed_tools": ALLOWED}, "auto", "bc"),
        ({"type": "allowed_tools", "allowed_tools": {**ALLOWED, "mode": "required"}}, "required", "bc"),
        (function("nobody"), function("nobody"), "abc"),
        ("auto", "auto", "abc"),
    ],
)
def test_a_choice_of_tools_is_a_word_and_no_other_tools(choice: Any, word: Any, kept: str) -> None:
    body = {"tools": [function(name) for name in "abc"], "tool_choice": choice}
    found = wired(body, Manner(named_choice=False))
    assert found == {"tools": [function(name) for name in kept], "tool_choice": word}


def test_keywords_are_left_out_of_schemas_and_never_of_names() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "properties": {"$schema": {"type": "string", "const": "a"}, "const": {"anyOf": [{"const": 1}]}},
        "items": {"additionalProperties": False},
        "additionalProperties": {"$schema": "y"},
    }
    plain = {
        "type": "object",
        "properties": {"$schema": {"type": "string", "enum": ["a"]}, "const": {"anyOf": [{}]}},
        "items": {},
    }
    shape = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    manner = Manner(keywords=frozenset({"$schema", "const", "additionalProperties"}))
    found = wired({"tools": [function("a", parameters=schema)], "response_format": shape}, manner)
    assert found["tools"] == [function("a", parameters=plain)]
    assert found["response_format"]["json_schema"]["schema"] == plain


def test_a_schema_of_any_depth_is_read() -> None:
    schema: dict[str, Any] = {"const": "a"}
    for _ in range(5_000):
        schema = {"items": schema}
    wired({"tools": [function("a", parameters=schema)]}, Manner(keywords=frozenset({"const"})))


async def test_a_strictness_that_is_not_known_is_left_out_and_named() -> None:
    client = Client(refusal("Unknown parameter: 'tools[0].function.strict'."), whole(COMPLETION))
    reply = await provider(client).chat(call(tools=[function("a", strict=True)]))
    assert sent(client)["tools"] == [function("a")]
    assert reply.dropped == ("tools.strict",)
