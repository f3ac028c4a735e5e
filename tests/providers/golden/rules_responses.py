"""The Responses dialect's rules of a stream (https://platform.openai.com/docs/api-reference/responses-streaming)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from pydantic import TypeAdapter

from .transcripts import Event

Json = dict[str, Any]

#: Which event adds to, and which completes, the text of a part, an item's arguments or input: the field of
#: the completing event, and where in the item it ends up.
_TEXTS = {
    "response.output_text": "text",
    "response.refusal": "refusal",
    "response.reasoning_summary_text": "text",
    "response.reasoning_text": "text",
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
}
_PARTS = {
    "response.content_part": "content",
    "response.reasoning_summary_part": "summary",
}
_ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}


def check_responses(events: Sequence[Event], *, broken: bool) -> None:
    """``created`` and ``in_progress`` first, numbers dense from 0, items added in order, everything done
    equal to what was added up, and the response at the end equal to its items."""
    events = [event for event in events if event.name != ":"]
    bodies: list[Json] = [event.body() for event in events]
    assert [event.name for event in events] == [body["type"] for body in bodies]
    for body in bodies:
        _adapter().validate_python(body)
    assert [body["sequence_number"] for body in bodies] == list(range(len(bodies)))
    created, progress, *inner, last = bodies
    assert (created["type"], progress["type"]) == ("response.created", "response.in_progress")
    for begun in (created["response"], progress["response"]):
        assert begun["status"] == "in_progress"
        assert begun["output"] == []
        assert begun["usage"] is None
    final = last["response"]
    assert _ENDS[last["type"]] == final["status"]
    assert {body["response"]["id"] for body in (created, progress, last)} == {final["id"]}
    assert final["id"].startswith("resp_")
    assert final["store"] is False
    output = _Output()
    for body in inner:
        output.add(body)
    if broken:
        assert last["type"] == "response.failed"
        assert final["error"]["message"]
        assert final["error"]["code"]
        return
    assert last["type"] != "response.failed"
    assert output.open == {}
    assert final["output"] == output.items
    usage = final["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert (final["incomplete_details"] is not None) == (last["type"] == "response.incomplete")
    assert len({item["id"] for item in output.items}) == len(output.items)


class _Output:
    """What the events of items add up to. ``items`` are those that are done, in their order; several may be
    open at a time (calls that are written side by side)."""

    def __init__(self) -> None:
        self.open: dict[int, _Open] = {}
        self._added = 0
        self._done: dict[int, Json] = {}

    @property
    def items(self) -> list[Json]:
        return [self._done[index] for index in sorted(self._done)]

    def add(self, body: Json) -> None:
        kind, index = body["type"], body["output_index"]
        if kind == "response.output_item.added":
            assert index == self._added
            self._added += 1
            self.open[index] = _Open(body["item"])
        elif kind == "response.output_item.done":
            self.open.pop(index).check_done(body["item"])
            self._done[index] = body["item"]
        else:
            self.open[index].add(body)


class _Open:
    """One item while it is written."""

    def __init__(self, shell: Json) -> None:
        assert shell.get("status") in (None, "in_progress")
        assert not any(shell.get(name) for name in ("content", "summary", "arguments", "input"))
        self._shell = shell
        self._texts: dict[tuple[Any, ...], str] = {}
        self._done: dict[tuple[Any, ...], str] = {}
        self._parts: dict[str, list[Json]] = {"content": [], "summary": []}
        self._part: tuple[str, int] | None = None  # the open one, and its place

    def add(self, body: Json) -> None:
        assert body["item_id"] == self._shell["id"]
        name, _, what = body["type"].rpartition(".")
        if name in _PARTS:
            self._part_event(_PARTS[name], what, body)
        else:
            self._text_event(name, what, body)

    def _text_event(self, name: str, what: str, body: Json) -> None:
        field = _TEXTS[name]
        where = body.get("content_index", body.get("summary_index"))
        if field in ("text", "refusal"):
            assert self._part is not None
            assert self._part[1] == where
        if what == "delta":
            assert (name, where) not in self._done
            assert body["delta"]
            self._texts[name, where] = self._texts.get((name, where), "") + body["delta"]
        else:
            assert what == "done"
            assert body[field] == self._texts.get((name, where), "")
            self._done[name, where] = body[field]

    def _part_event(self, where: str, what: str, body: Json) -> None:
        parts, part = self._parts[where], body["part"]
        index = body["content_index" if where == "content" else "summary_index"]
        assert index == len(parts)
        said = part["refusal"] if part["type"] == "refusal" else part["text"]
        if what == "added":
            assert self._part is None
            assert said == ""
            self._part = (where, index)
        else:
            assert what == "done"
            assert self._part == (where, index)
            assert [said] == [text for (_, place), text in self._done.items() if place == index]
            parts.append(part)
            self._part = None

    def check_done(self, item: Json) -> None:
        assert self._part is None
        assert (item["id"], item["type"]) == (self._shell["id"], self._shell["type"])
        assert item.get("status") in (None, "completed", "incomplete")
        assert (item.get("content") or []) == self._parts["content"]
        assert (item.get("summary") or []) == self._parts["summary"]
        assert self._texts.keys() <= self._done.keys()
        for field in ("arguments", "input"):
            if field in item:
                assert [item[field]] == list(self._done.values())
        if item["type"] in ("function_call", "custom_tool_call"):
            assert item["call_id"]
            assert item["name"]
        if item["type"] == "function_call":
            assert isinstance(orjson.loads(item["arguments"]), dict)


@lru_cache
def _adapter() -> TypeAdapter[Any]:
    """Made on first use: importing the SDK takes a second."""
    from openai.types.responses import ResponseStreamEvent

    return TypeAdapter(ResponseStreamEvent)
