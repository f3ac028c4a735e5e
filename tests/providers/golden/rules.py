"""What each dialect demands of a stream, whatever is in it, apart from what was recorded.

The sources: the streaming pages and references of both vendors and the event types of their SDKs, anthropic
2.12 and openai 3.54, which parse every event here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import orjson
from pydantic import TypeAdapter

from .rules_responses import check_responses
from .transcripts import Event

Json = dict[str, Any]


def check_chat(events: Sequence[Event], *, broken: bool) -> None:
    """Role first, ``choices`` always, indexes dense, one finish, then usage, then ``[DONE]``; a broken stream
    ends with an error and has no ``[DONE]``."""
    assert {event.name for event in events} == {""}
    last = events[-1].data
    if broken:
        error = orjson.loads(last)["error"]
        assert error["message"]
        assert set(error) == {"message", "type", "param", "code"}
        assert "[DONE]" not in [event.data for event in events]
    else:
        assert last == "[DONE]"
    chunks = [event.body() for event in events[:-1]]
    for chunk in chunks:
        _adapter("openai.types.chat", "ChatCompletionChunk").validate_python(chunk)
        assert chunk["object"] == "chat.completion.chunk"
    for same in ("id", "model", "created"):
        assert len({chunk[same] for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all("role" not in choice["delta"] for choice in choices[1:])
    assert {choice["index"] for choice in choices} == {0}
    _check_calls([call for choice in choices for call in choice["delta"].get("tool_calls") or ()], broken)
    reasons = [choice["finish_reason"] for choice in choices]
    assert set(reasons[:-1]) == {None}
    usages = [at for at, chunk in enumerate(chunks) if chunk.get("usage")]
    if broken:
        assert reasons[-1] is None
        assert usages == []
        return
    assert reasons[-1] in ("stop", "length", "tool_calls", "content_filter")
    assert usages == [len(chunks) - 1]
    usage = chunks[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def _check_calls(deltas: list[Json], broken: bool) -> None:
    """Each call is complete before the next one begins; its arguments are an object's JSON."""
    arguments: list[str] = []
    for delta in deltas:
        function = delta["function"]
        if "id" in delta:
            assert delta["index"] == len(arguments)
            assert delta["id"]
            assert delta["type"] == "function"
            assert function["name"]
            arguments.append("")
        assert delta["index"] == len(arguments) - 1
        arguments[-1] += function["arguments"]
    assert broken or all(isinstance(orjson.loads(given), dict) for given in arguments)


def check_messages(events: Sequence[Event], *, broken: bool) -> None:
    """One ``message_start``, blocks strictly one after the other, ``message_delta`` with the usage,
    ``message_stop``; a broken stream ends with an error instead."""
    events = [event for event in events if event.name not in (":", "ping")]
    bodies: list[Json] = [event.body() for event in events]
    assert [event.name for event in events] == [body["type"] for body in bodies]
    if broken:
        error = bodies.pop()
        assert error["type"] == "error"
        assert error["error"]["type"].endswith("_error")
        assert error["error"]["message"]
    for body in bodies:
        _adapter("anthropic.types", "RawMessageStreamEvent").validate_python(body)
    message = bodies[0]["message"]
    assert bodies[0]["type"] == "message_start"
    assert (message["type"], message["role"], message["content"]) == ("message", "assistant", [])
    assert message["id"].startswith("msg_")
    assert message["stop_reason"] is None
    assert message["usage"]["input_tokens"] >= 0
    assert message["usage"]["output_tokens"] >= 0
    rest = bodies[1:]
    if not broken:
        *rest, ended, stopped = rest
        assert stopped == {"type": "message_stop"}
        assert ended["type"] == "message_delta"
        assert ended["delta"]["stop_reason"] in ("end_turn", "max_tokens", "tool_use", "refusal")
        assert ended["usage"]["output_tokens"] > 0
    kinds = _check_blocks(rest, broken)
    assert broken or ("tool_use" in kinds) == (ended["delta"]["stop_reason"] == "tool_use")


_DELTAS = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}
_SHELLS: dict[str, Json] = {"text": {"text": ""}, "thinking": {"thinking": ""}, "tool_use": {"input": {}}}


def _check_blocks(bodies: list[Json], broken: bool) -> list[str]:
    """The kinds of the blocks, which come one after the other, counted from 0, empty at their start."""
    kinds: list[str] = []
    open_, json = False, ""
    for body in bodies:
        if body["type"] == "content_block_start":
            assert not open_
            assert body["index"] == len(kinds)
            shell = body["content_block"]
            kinds.append(shell["type"])
            assert _SHELLS.get(kinds[-1], {}).items() <= shell.items()
            open_, json = True, ""
            continue
        assert open_
        assert body["index"] == len(kinds) - 1
        if body["type"] == "content_block_delta":
            assert body["delta"]["type"] in _DELTAS[kinds[-1]]
            json += body["delta"].get("partial_json", "")
        else:
            assert body["type"] == "content_block_stop"
            assert not json or isinstance(orjson.loads(json), dict)
            open_ = False
    assert broken or not open_
    return kinds


@lru_cache
def _adapter(module: str, name: str) -> TypeAdapter[Any]:
    """Made on first use: importing an SDK takes a second or two."""
    return TypeAdapter(getattr(__import__(module, fromlist=[name]), name))


RULES: dict[str, Callable[..., None]] = {
    "chat": check_chat,
    "messages": check_messages,
    "responses": check_responses,
}
