"""The tool calls of a stream of chunks, put together from the pieces in which servers send them.

OpenAI's way: the first piece has ``index``, ``id`` and the function's name, the others ``index`` and a part
of the arguments (https://platform.openai.com/docs/guides/function-calling#streaming). Others leave out the
index, give it to every call alike, repeat ids and names, send them late or never, or send the
arguments whole.
"""

from __future__ import annotations

from typing import Any

import orjson

from ..translate._event import Malformed
from ..translate.chat_anthropic import ReplyShape
from ..translate.chunks import escaped, unescaped
from ..translate.unwrap import InputUnwrapper
from ..types import Writer


class Call:
    """One call. ``index`` is the writer's, -1 while it has not heard of the call; ``custom``: its input is
    free text, as the upstream sends it; ``unwrap``: that it sends as JSON."""

    __slots__ = ("custom", "held", "id", "index", "name", "said", "unwrap")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.index = -1
        self.custom = False
        self.held: list[bytes] = []  # arguments that came before the rest was known
        self.said = False  # any arguments came
        self.unwrap: InputUnwrapper | None = None


class Calls:
    """Gives the calls to ``writer``, each once its id and its name are known and its arguments begin: until
    then, more of the name may come. Calls without an id get one of ``answer_id`` and their number."""

    __slots__ = ("_by_index", "_ids", "_last", "_open", "_shape", "_writer", "_written", "answer_id")

    def __init__(self, writer: Writer, shape: ReplyShape, answer_id: str) -> None:
        self._writer = writer
        self._shape = shape
        self.answer_id = answer_id
        self._by_index: dict[int, Call] = {}
        self._open: list[Call] = []  # in the order in which they began
        self._written = 0
        self._ids: set[str] = set()
        self._last: Call | None = None

    def _id_of(self, number: int) -> str:
        return f"call_{self.answer_id}_{number}"

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, pieces: list[Any]) -> tuple[Call, str, str] | None:
        """The ``tool_calls`` of one delta. If they are nothing but more arguments of one call: that call,
        the field, and what it says. Raises ``Malformed``."""
        plain = None
        fresh: set[int] = set()  # indices at which a call began within these pieces
        for piece in pieces:
            if not isinstance(piece, dict):
                raise Malformed("a tool call that is not an object")
            custom = isinstance(piece.get("custom"), dict)
            said = piece.get("custom" if custom else "function")
            said = said if isinstance(said, dict) else {}
            call = self._call_of(piece, _text(said, "name"), fresh)
            call.custom = call.custom or custom
            plain = self._take(call, _text(piece, "id"), said, "input" if custom else "arguments")
        return plain if len(pieces) == 1 else None

    def add_legacy(self, function: dict[str, Any]) -> None:
        """The ``function_call`` of a delta, from before there were tools."""
        call = self._last or self._begin(None)
        self._take(call, call.id or self._id_of(0), function, "arguments")

    def more(self, call: Call, tokens: list[bytes]) -> None:
        """More arguments of ``call``; none of ``tokens`` is empty."""
        if call.unwrap is not None:
            found = [call.unwrap.feed(unescaped((token,))) for token in tokens]
            tokens = [piece for piece in found if piece]
        if tokens:
            self._writer.arguments(call.index, tokens, custom=call.custom or call.unwrap is not None)

    def finish(self) -> None:
        """No more will come. Raises ``Malformed`` for a call without a name."""
        self._settle()
        for call in self._open:
            if not call.said and not call.custom and call.unwrap is None:
                self.more(call, [b"{}"])  # a client wants JSON to parse, whatever the upstream left out
            if call.unwrap is not None and (rest := call.unwrap.close()):
                self._writer.arguments(call.index, (rest,), custom=True)

    def _call_of(self, piece: dict[str, Any], name: str, fresh: set[int]) -> Call:
        """The call that ``piece`` belongs to: an open one, or a new one."""
        index, call_id = piece.get("index"), _text(piece, "id")
        if type(index) is not int:  # a bool is no index
            return self._without_index(call_id, name)
        call = self._by_index.get(index)
        # Who gives every call the same index tells them apart by ids and names; who makes up an id for
        # every piece gives the name once.
        another = name and call is not None and (index in fresh or (call_id and call.id not in ("", call_id)))
        if call is None or another:
            call = self._begin(index)
        if name:
            fresh.add(index)
        return call

    def _without_index(self, call_id: str, name: str) -> Call:
        if call_id:
            known = next((call for call in self._open if call.id == call_id), None)
            if known is not None:
                return known
        last = self._last
        if last is None or (name and (call_id or last.name)) or (call_id and last.id):
            return self._begin(None)
        return last

    def _begin(self, index: int | None) -> Call:
        self._settle()
        call = self._last = Call()
        self._open.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _take(
        self, call: Call, call_id: str, said: dict[str, Any], field: str
    ) -> tuple[Call, str, str] | None:
        self._last = call
        call.id = call.id or call_id
        name = _text(said, "name")
        if call.index < 0 and name != call.name:  # not repeated: the next part of it
            call.name += name
        given = _given(said.get(field), field)
        if not given:
            return None
        token = escaped(given)
        call.said = True
        if call.index >= 0:
            self.more(call, [token])
            return call, field, given
        call.held.append(token)
        if call.id and call.name:
            self._write(call)
        return None

    def _settle(self) -> None:
        """What is open will learn no more of its ids and names."""
        for call in self._open:
            if call.index < 0:
                self._write(call)

    def _write(self, call: Call) -> None:
        if not call.name:
            raise Malformed("a tool call without its name")
        call.index = self._written
        self._written += 1
        if not call.id or call.id in self._ids:
            call.id = self._id_of(call.index)  # what answers it needs a name for it
        self._ids.add(call.id)
        if not call.custom and call.name in self._shape.custom_tools:
            call.unwrap = InputUnwrapper()
        name = self._shape.tool_names.get(call.name, call.name)
        self._writer.call(call.index, call.id, name, custom=call.custom or call.unwrap is not None)
        held, call.held = call.held, []
        if held:
            self.more(call, held)


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""


def _given(value: object, field: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, dict):  # whole, as JSON within JSON
        try:
            return orjson.dumps(value).decode()
        except TypeError:  # deeper than it writes, but not than it reads
            raise Malformed("a tool call whose arguments are nested too deeply") from None
    raise Malformed(f"a tool call with wrong {field}")
