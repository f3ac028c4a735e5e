"""Items of a Responses request → messages of a chat.

What one answer consisted of (its thinking, texts and calls, an item each) becomes one assistant message
again. What is made of an item depends only on the items before it, so a longer conversation begins as the
shorter one did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile

from . import _check, reasoning_blob
from ._check import Block
from .calls import name_of, optional_text, parse_arguments
from .content import parts, signed_thinking
from .messages import LATER
from .messages_parts import compact
from .response_items import CallName
from .responses_content import Content, marked, read_content, read_texts
from .responses_local import LOCAL_CALLS
from .responses_mixed import as_items, is_mixed
from .responses_tools import CallNames

#: What to do instead of referring to something stored.
REPLAY = (
    "This gateway keeps no conversations. Send the items themselves in `input` with `store: false` "
    "(Vercel AI SDK: `providerOptions: {openai: {store: false}}`)."
)
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})


class Items:
    """Reads items (:meth:`add`) into ``messages``; call :meth:`finish` behind the last one.

    ``model`` is the upstream's id of the model that is asked. ``signed``: it takes its thinking back, in
    order, as Anthropic-shaped parts; otherwise thinking is ``reasoning_content``.
    """

    __slots__ = (
        "_answered",
        "_calls",
        "_gap",
        "_late",
        "_model",
        "_names",
        "_signed",
        "_turn",
        "left_out",
        "messages",
    )

    def __init__(self, names: CallNames, *, model: str, signed: bool) -> None:
        self.messages: list[Block] = []
        #: Types of items that could not be told.
        self.left_out: dict[str, None] = {}
        self._names = names
        self._model = model
        self._signed = signed
        self._turn: list[Block] = []  # parts of the assistant message that is being assembled
        self._gap = False  # thinking of this model was lost
        # What the calls have returned. Codex lets a call that goes on return something more than once.
        self._answered: dict[str, Block] = {}
        self._calls: set[str] = set()
        self._late: list[Block] = []

    def add(self, item: object, at: str) -> None:
        """The next item, which stands at the path ``at``. Raises ``BadRequest``."""
        item = _check.obj(item, at)
        kind = item.get("type")
        if kind is None:
            kind = "item_reference" if "id" in item and "role" not in item else "message"
        reader = _READERS.get(_check.text(kind, f"{at}.type"))
        if reader is None:
            # Of an item that only OpenAI's models understand, or that is newer than this gateway (clients are
            # updated more often), nothing can be told.
            self.left_out[kind] = None
        else:
            reader(self, item, at)

    def __len__(self) -> int:
        """How many messages have been begun."""
        return (
            len(self.messages) + len(self._late) + any(part["type"] not in _THOUGHTS for part in self._turn)
        )

    def keep(self, message: Block) -> None:
        """A message of a chat that stays as it is."""
        self._close()
        if message.get("role") != "tool":
            self._tell_late()
        self.messages.append(message)

    def finish(self) -> None:
        """The last message is complete."""
        self._close()
        self._tell_late()

    def _tell_late(self) -> None:
        """What calls of earlier turns have returned since. It may not stand among the results of this one."""
        self.messages += self._late
        self._late = []

    def _close(self) -> None:
        turn, self._turn = self._turn, []
        # Thinking that nothing came of (the caller broke off) is refused at the end of a turn.
        while turn and turn[-1]["type"] in _THOUGHTS:
            turn.pop()
        if turn:
            self._tell_late()
            self.messages.append(_shaped(turn) if self._signed else _plain(turn))

    def _message(self, item: Block, at: str) -> None:
        if is_mixed(item):
            for part, place in as_items(item, at):
                self.add(part, place)
            return
        role = _check.text(item.get("role"), f"{at}.role")
        value, place = item.get("content"), f"{at}.content"
        match role:
            case "assistant":
                self._turn += read_texts(value, place)
            case "user" | "system" | "developer":
                self.keep({"role": role, "content": read_content(value, place)})
            case _:
                raise _check.invalid(
                    f"{at}.role", f"`{at}.role` must be user, assistant, system or developer."
                )

    def _reasoning(self, item: Block, at: str) -> None:
        blob = optional_text(item.get("encrypted_content"), f"{at}.encrypted_content")
        if self._signed:
            if (block := self._unpacked(blob)) is not None:
                self._turn.append(block)
        elif text := "\n\n".join(_told(item, "summary", at) or _told(item, "content", at)):
            self._turn.append({"type": "reasoning", "text": text})

    def _unpacked(self, blob: str) -> Block | None:
        """This model's own thinking. That of others, which is always left out, leaves no gap; once some of
        its own is lost, the rest does not fit what stands before it any more and would be refused."""
        try:
            found = reasoning_blob.unpack(blob)
        except reasoning_blob.Damaged:
            self._gap = True
            return None
        return found.block if found is not None and found.model == self._model and not self._gap else None

    def _thinking(self, item: Block, at: str) -> None:
        """A block of Claude's, as it stands in a message of Anthropic's dialect."""
        if self._signed:
            if (block := signed_thinking(item)) is not None:
                self._turn.append(block)
        elif text := optional_text(item.get("thinking"), f"{at}.thinking"):
            self._turn.append({"type": "reasoning", "text": text})

    def _function_call(self, item: Block, at: str) -> None:
        given = item.get("arguments")
        if isinstance(given, dict):
            given = _check.as_json(given).decode()
        arguments = optional_text(given, f"{at}.arguments")
        self._call(item, at, "function_call", arguments)

    def _custom_call(self, item: Block, at: str) -> None:
        given = _check.text(item.get("input"), f"{at}.input")
        call_id, name = self._called(item, at, "custom_tool_call")
        call = (
            {"type": "tool_use", "id": call_id, "name": name, "input": {"input": given}}
            if self._signed
            else {"id": call_id, "type": "custom", "custom": {"name": name, "input": given}}
        )
        self._turn.append(marked(call, item, at))

    def _local_call(self, item: Block, at: str) -> None:
        kind: str = item["type"]
        local = LOCAL_CALLS[kind]
        action = _check.obj(item.get(local.field), f"{at}.{local.field}")
        given = _check.as_json({key: value for key, value in action.items() if value is not None})
        self._call({**item, "name": local.tool, "namespace": None}, at, kind, given.decode())

    def _call(self, item: Block, at: str, kind: str, arguments: str) -> None:
        call_id, name = self._called(item, at, kind)
        if self._signed:
            call = {"type": "tool_use", "id": call_id, "name": name, "input": parse_arguments(arguments)}
        else:
            function = {"name": name, "arguments": arguments}
            call = {"id": call_id, "type": "function", "function": function}
        self._turn.append(marked(call, item, at))

    def _called(self, item: Block, at: str, kind: str) -> tuple[str, str]:
        name = name_of(item, at)
        space = optional_text(item.get("namespace"), f"{at}.namespace")
        call_id = _call_id(item, at)
        self._calls.add(call_id)
        self._answered.pop(call_id, None)  # some clients number their calls from zero in every turn
        return call_id, self._names.of(CallName(kind, name, space))

    def _output(self, item: Block, at: str) -> None:
        result = read_content(item.get("output"), f"{at}.output")
        failed = item.get("is_error") is True
        marked(self._result(_call_id(item, at), result, failed=failed), item, at)

    def _local_shell_output(self, item: Block, at: str) -> None:
        # The SDK's type has the call's id in `id`, and no `call_id`.
        named = item if item.get("call_id") is not None else {"call_id": item.get("id")}
        self._result(_call_id(named, at), _check.text(item.get("output"), f"{at}.output"))

    def _shell_output(self, item: Block, at: str) -> None:
        output = item.get("output")
        if not isinstance(output, str):
            output = _check.as_json(_check.array(output, f"{at}.output")).decode()
        self._result(_call_id(item, at), output)

    def _patch_output(self, item: Block, at: str) -> None:
        status = optional_text(item.get("status"), f"{at}.status")
        text = optional_text(item.get("output"), f"{at}.output") or status
        self._result(_call_id(item, at), text, failed=status == "failed")

    def _result(self, call_id: str, result: Content, *, failed: bool = False) -> Block:
        """The message that tells what the call has returned."""
        # The results of a call that nobody has made stay results: who is asked leaves them out, all of them.
        if call_id in self._calls and (earlier := self._answered.get(call_id)) is not None:
            self._close()
            if any(message is earlier for message in _results(self.messages)):
                earlier["content"] = [*_as_parts(earlier["content"]), *_as_parts(result)]
                return earlier
            late = {"role": "user", "content": [{"type": "text", "text": LATER}, *_as_parts(result)]}
            self._late.append(late)
            return late
        message: Block = {"role": "tool", "tool_call_id": call_id, "content": result}
        if failed and self._signed:
            message["is_error"] = True
        self._answered[call_id] = message
        self.keep(message)
        return message

    def _reference(self, item: Block, at: str) -> None:
        raise _check.invalid(at, f"`{at}` refers to a stored item. {REPLAY}", "unsupported_value")

    def _compaction(self, item: Block, at: str) -> None:
        raise _check.invalid(
            at,
            "This gateway compacts no conversations: ask the model for a summary instead.",
            "unsupported_value",
        )


#: Type of an item → who reads it. Functions, not methods: an object that holds its own methods waits for
#: the garbage collector.
_READERS: dict[str, Callable[[Items, Block, str], None]] = {
    "message": Items._message,
    "thinking": Items._thinking,
    "redacted_thinking": Items._thinking,
    "reasoning": Items._reasoning,
    "function_call": Items._function_call,
    "custom_tool_call": Items._custom_call,
    "function_call_output": Items._output,
    "custom_tool_call_output": Items._output,
    "local_shell_call_output": Items._local_shell_output,
    "shell_call_output": Items._shell_output,
    "apply_patch_call_output": Items._patch_output,
    "item_reference": Items._reference,
    "compaction_trigger": Items._compaction,
    "additional_tools": lambda items, item, at: None,  # declared, see responses_tools
    **dict.fromkeys(LOCAL_CALLS, Items._local_call),
}


def part_of(item: Block, at: str, part: int) -> str:
    """Where the ``part`` of the message that is made of ``item`` stands; ``at``, the item's place, where the
    parts of both are not the same ones."""
    for field in ("content", "output"):
        if isinstance(item.get(field), list) and not is_mixed(item):
            return f"{at}.{field}.{part}"
    return at


def _call_id(item: Block, at: str) -> str:
    return _check.text(item.get("call_id"), f"{at}.call_id")


def _results(messages: list[Block]) -> Iterator[Block]:
    """The results at the end of ``messages``."""
    return takewhile(lambda message: message["role"] == "tool", reversed(messages))


def _as_parts(content: Content) -> list[Block]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _told(item: Block, field: str, at: str) -> list[str]:
    """The texts of a reasoning item's ``summary`` or ``content``."""
    value = item.get(field)
    if value is None:
        return []
    found = [
        _check.text(part.get("text"), f"{place}.text") for part, _, place in parts(value, f"{at}.{field}")
    ]
    return [text for text in found if text]


def _shaped(turn: list[Block]) -> Block:
    """An assistant message of Anthropic-shaped parts, in their order."""
    return {"role": "assistant", "content": compact(turn)}


def _plain(turn: list[Block]) -> Block:
    """An assistant message of chat completions: texts, then calls; thinking beside them."""
    texts = [part for part in turn if part["type"] == "text"]
    calls = [part for part in turn if part["type"] in ("function", "custom")]
    thoughts = [part["text"] for part in turn if part["type"] == "reasoning"]
    message: Block = {"role": "assistant", "content": compact(texts) if texts else None}
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message
