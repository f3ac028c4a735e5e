"""Tool calls as they stand in the messages of a chat, in each of the shapes that clients use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from . import _check
from ._check import Block
from .cache_control import marker
from .names import CallIds


@dataclass(slots=True)
class Call:
    """A tool call of the last assistant turn. ``original``: the caller's id, "" if it gave none."""

    original: str
    name: str
    arguments: Block
    mark: Block | None = None
    wire: str = ""


Result = TypeVar("Result")


class PendingCalls(Generic[Result]):
    """The calls of the last assistant turn and the results that have come for them, in any order.

    Ids need not be unique, and results of the legacy form name the function only: the first call that
    fits and still waits is the one that is meant.
    """

    __slots__ = ("_by_id", "_by_name", "_calls", "_ids", "_results")

    def __init__(self) -> None:
        self._ids = CallIds()
        self._calls: list[Call] = []
        self._by_id: dict[str, deque[Call]] = {}
        self._by_name: dict[str, deque[Call]] = {}
        self._results: dict[str, Result] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def answered(self) -> bool:
        """Whether a result has come."""
        return bool(self._results)

    def expect(self, call: Call) -> None:
        """From now on ``call``, which is given its wire id, waits for its result."""
        call.wire = self._ids.allocate(call.original)
        self._calls.append(call)
        self._by_id.setdefault(call.original, deque()).append(call)
        self._by_name.setdefault(call.name, deque()).append(call)

    def asked_by(self, message: Block, role: str, at: str) -> Call | None:
        """The call that ``message`` of the role ``tool`` or ``function`` answers; None for a result that
        nobody asked for, and for a second one. Raises ``BadRequest``."""
        if role == "tool":
            return self.with_id(_check.text(message.get("tool_call_id"), f"{at}.tool_call_id"))
        return self._first(self._by_name.get(_check.text(message.get("name"), f"{at}.name")))

    def with_id(self, call_id: str) -> Call | None:
        return self._first(self._by_id.get(call_id))

    def answer(self, call: Call, result: Result) -> None:
        self._results[call.wire] = result

    def drain(self) -> list[tuple[Call, Result | None]]:
        """Every call in order with its result, if one has come. Nothing waits any longer."""
        found = [(call, self._results.get(call.wire)) for call in self._calls]
        self._calls, self._results = [], {}
        self._by_id, self._by_name = {}, {}
        return found

    def _first(self, waiting: deque[Call] | None) -> Call | None:
        while waiting and waiting[0].wire in self._results:
            waiting.popleft()
        return waiting[0] if waiting else None


def read_calls(
    value: object, at: str, custom: frozenset[str], said: Iterable[Block | Call] = ()
) -> list[Call]:
    """The ``tool_calls`` of an assistant message, but for those that stand among the parts of its content
    (``said``) as well: a client that speaks with several providers keeps a call in both shapes. Raises
    ``BadRequest``."""
    known = {part.original for part in said if isinstance(part, Call) and part.original}
    calls = []
    for index, item in enumerate(_check.array(value, at)):
        place = f"{at}.{index}"
        holder = _check.obj(item, place)
        if holder.get("type") == "custom":
            given = _check.obj(holder.get("custom"), f"{place}.custom")
            text = _check.text(given.get("input"), f"{place}.custom.input")
            call = Call("", name_of(given, f"{place}.custom"), {"input": text})
        else:
            call = named_call(holder.get("function"), f"{place}.function", custom)
        call.original = optional_text(holder.get("id"), f"{place}.id")
        call.mark = marker(holder, place)
        if call.original not in known:
            calls.append(call)
    return calls


def optional_text(value: object, at: str) -> str:
    return "" if value is None else _check.text(value, at)


def name_of(holder: Block, at: str) -> str:
    name = _check.text(holder.get("name"), f"{at}.name")
    if not name:
        raise _check.invalid(f"{at}.name", f"`{at}.name` is empty.")
    return name


def named_call(value: object, at: str, custom: frozenset[str]) -> Call:
    """A ``{name, arguments}`` object."""
    function = _check.obj(value, at)
    name = name_of(function, at)
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        return Call("", name, arguments)
    given = optional_text(arguments, f"{at}.arguments")
    return Call("", name, {"input": given} if name in custom else parse_arguments(given))


def shaped_call(part: Block, at: str) -> Call:
    """An Anthropic-shaped ``tool_use`` part."""
    given = part.get("input")
    arguments = {} if given is None else _check.obj(given, f"{at}.input")
    return Call(_check.text(part.get("id"), f"{at}.id"), name_of(part, at), arguments, marker(part, at))


def parse_arguments(arguments: str) -> dict[str, Any]:
    """The object in ``arguments``; ``{"_raw": arguments}`` when there is none (models do write such)."""
    if not arguments or arguments.isspace():
        return {}
    try:
        parsed = orjson.loads(arguments)
    except ValueError:
        return {"_raw": arguments}
    return parsed if isinstance(parsed, dict) else {"_raw": arguments}
