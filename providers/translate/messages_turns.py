"""Turns of Anthropic's Messages API → chat messages.

One user turn may hold the results of tools and what the user says. In a chat these are messages of their
own, and the results come first, right behind the calls. What is written depends only on the turns before: a
longer conversation begins with the messages of the shorter one, if that ends with a user's turn. (What a
client says for one turn alone, with ``clear_at``, is gone in the next, as it asks.)
"""

from __future__ import annotations

from typing import Any

from ..errors import BadRequest
from . import _check, content
from ._check import Block
from .cache_control import marker
from .calls import name_of
from .messages_parts import compact, document_parts, image_part, search_text

#: Stand where something was that a chat has no place for.
LATER_NOTE = "(What the tool returned here is in the next message.)"
#: Stands between what tools have shown and what the user shows.
OWN_NOTE = "(What follows is from the user.)"
_NOTES = {
    "image": "(An image was here, which cannot be passed on.)",
    "document": "(A document was here, which cannot be passed on.)",
}
_NOTE = "(Something was here that cannot be passed on.)"

Message = dict[str, Any]


class ChatTurns:
    """Assembles ``messages``; call :meth:`add` for each message, then :meth:`finish`."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        #: Names of the tools that a search has found or that were called, in the order in which it was so.
        self.known: dict[str, None] = {}
        #: Tools that were brought along by a message, with their places.
        self.defined: list[tuple[Block, str]] = []
        #: The effort that was asked for in this turn alone.
        self.effort: object = None
        #: Whether something was left out, or a note put in its place.
        self.lost = False
        self._rest: list[Message] = []  # behind the results of this turn

    def add(self, message: object, at: str, *, past: bool, over: bool) -> None:
        """The next message, which stands at the path ``at``. Raises ``BadRequest``.

        ``past``: it was answered already, by a model that could take everything in it. What cannot be
        passed on then makes room for a note, or no conversation with such a thing in it could move here.
        ``over``: a user's message follows somewhere.
        """
        message = _check.obj(message, at)
        match _check.text(message.get("role"), f"{at}.role"):
            case "user":
                self._add_user(message.get("content"), f"{at}.content", past=past)
            case "assistant":
                self.finish()
                self.effort = None
                self._add_assistant(message.get("content"), f"{at}.content")
            case "system":
                self._add_system(message, at, over=over)
            case _:
                raise _check.invalid(f"{at}.role", f"`{at}.role` must be user, assistant or system.")

    def __len__(self) -> int:
        """How many messages there are so far."""
        return len(self.messages) + len(self._rest)

    def finish(self) -> None:
        """Close the last turn."""
        self.messages += self._rest
        self._rest = []

    def _add_user(self, body: object, at: str, *, past: bool) -> None:
        if isinstance(body, str):
            self._rest.append({"role": "user", "content": body})
            return
        returned: list[Block] = []
        said: list[Block] = []
        answers = False
        for part, kind, place in content.parts(body, at):
            if kind == "tool_result":
                answers = True
                returned += self._add_result(part, place)
            else:
                said += self._parts(part, kind, place, told=past)
        if returned and said and said[0]["type"] != "text":
            returned.append({"type": "text", "text": OWN_NOTE})
        if returned or said or not answers:
            self._rest.append({"role": "user", "content": compact(returned + said)})

    def _add_system(self, message: Block, at: str, *, over: bool) -> None:
        if (config := message.get("output_config")) is not None:
            self.effort = _check.obj(config, f"{at}.output_config").get("effort", self.effort)
        body = message.get("content")
        said: list[Block] = []
        if isinstance(body, str):
            said = [{"type": "text", "text": body}] if body else []
        elif body is not None or config is None:
            for part, kind, place in content.parts(body, f"{at}.content"):
                said += self._parts(part, kind, place, told=True)
        if said and not (over and message.get("clear_at") == "next_user_message"):
            self._rest.append({"role": "system", "content": compact(said)})

    def _add_result(self, part: Block, at: str) -> list[Block]:
        """The result of a tool as a message; what of it a message of a tool cannot hold."""
        call_id = _check.text(part.get("tool_use_id"), f"{at}.tool_use_id")
        body = part.get("content")
        found: list[Block] = []
        if isinstance(body, str):
            found = [{"type": "text", "text": body}] if body else []
        elif body is not None:
            for inner, kind, place in content.parts(body, f"{at}.content"):
                found += self._parts(inner, kind, place, told=True)
        texts = [block for block in found if block["type"] == "text"]
        others = [block for block in found if block["type"] != "text"]
        if others:
            last = texts.pop() if texts else {"type": "text", "text": ""}
            texts.append({**last, "text": f"{last['text']}\n{LATER_NOTE}".lstrip("\n")})
            others.insert(0, {"type": "text", "text": f"Returned by the tool call {call_id}:"})
        failed = part.get("is_error")
        if failed is not None and _check.boolean(failed, f"{at}.is_error"):
            _say_failed(texts)
        if texts:
            _mark(texts[-1], part, at)
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": compact(texts)})
        return others

    def _add_assistant(self, body: object, at: str) -> None:
        if isinstance(body, str):
            self.messages.append({"role": "assistant", "content": body})
            return
        texts: list[Block] = []
        thoughts: list[str] = []
        calls: list[Block] = []
        before = ""
        for part, kind, place in content.parts(body, at):
            match kind:
                case "text":
                    said = self._parts(part, kind, place, told=True)
                    # Texts in a row are one text that citations have divided.
                    if said and before == "text" and "cache_control" not in texts[-1]:
                        texts[-1] = {**said[0], "text": texts[-1]["text"] + said[0]["text"]}
                    else:
                        texts += said
                    kind = kind if texts else ""
                case "thinking":
                    if thought := _check.text(part.get("thinking"), f"{place}.thinking"):
                        thoughts.append(thought)
                case "tool_use":
                    calls.append(self._call(part, place))
                case "compaction":
                    # The summary of what was said before.
                    if (summary := part.get("content")) is not None and _check.text(summary, place):
                        texts.append({"type": "text", "text": summary})
                case "redacted_thinking" | "fallback":
                    pass  # nobody but Claude could read the one, the other says nothing
                case _:
                    # What Claude has written with tools that ran at Anthropic. No client can take it back.
                    self.lost = True
            before = kind
        if not (texts or thoughts or calls):
            return
        message: Message = {"role": "assistant", "content": _joined(texts) if texts or not calls else None}
        if thoughts:
            message["reasoning_content"] = "\n".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)

    def _call(self, part: Block, at: str) -> Block:
        given = part.get("input")
        arguments = _check.as_json({} if given is None else _check.obj(given, f"{at}.input")).decode()
        name = name_of(part, at)
        self.known.setdefault(name)
        call: Block = {
            "id": _check.text(part.get("id"), f"{at}.id"),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        _mark(call, part, at)
        return call

    def _parts(self, part: Block, kind: str, at: str, *, told: bool) -> list[Block]:
        """One part of a turn. ``told``: the client cannot do without it, nor send it in another form."""
        try:
            found = self._read(part, kind, at)
        except BadRequest as error:
            if not (told and error.code in ("unsupported_value", "unsupported_media_type")):
                raise
            self.lost = True
            found = [{"type": "text", "text": _NOTES.get(kind, _NOTE)}]
        if found:
            _mark(found[-1], part, at)
        return found

    def _read(self, part: Block, kind: str, at: str) -> list[Block]:
        match kind:
            case "text":
                text = _check.text(part.get("text"), f"{at}.text")
                return [{"type": "text", "text": text}] if text else []
            case "image":
                return [image_part(part, at)]
            case "document":
                return document_parts(part, at)
            case "search_result":
                return [{"type": "text", "text": search_text(part, at)}]
            case "tool_reference" | "tool_addition":
                name = self._known(part if kind == "tool_reference" else part.get("tool"), at)
                return [{"type": "text", "text": f"The tool {name} can be called now."}]
            case "tool_removal":
                # It stays declared: all that was said stands behind the declarations.
                name = self._known(part.get("tool"), at)
                return [{"type": "text", "text": f"The tool {name} cannot be called any more."}]
        raise content.unsupported(kind, at)

    def _known(self, reference: object, at: str) -> str:
        """The name of the tool that ``reference`` makes known."""
        if isinstance(reference, dict):
            if isinstance(definition := reference.get("definition"), dict):
                self.defined.append((definition, f"{at}.tool.definition"))
                reference = definition
            name = reference.get("tool_name", reference.get("name"))
            if isinstance(name, str):
                self.known.setdefault(name)
                return name
        raise content.unsupported("unnamed tool", at)


def _joined(texts: list[Block]) -> str | list[Block]:
    """Content of an assistant. Few servers take anything but a string."""
    if any("cache_control" in text for text in texts):
        return texts
    return "\n".join(text["text"] for text in texts)


def _mark(block: Block, part: Block, at: str) -> None:
    if (mark := marker(part, at)) is not None:
        block["cache_control"] = mark


def _say_failed(texts: list[Block]) -> None:
    """A chat cannot say otherwise that a tool has failed. Mostly the text itself does."""
    first = texts[0]["text"] if texts else ""
    if "error" not in first[:80].lower():
        text = f"Error: {first}" if first else "Error: the tool failed and returned nothing."
        texts[:1] = [{"type": "text", "text": text, **({} if not texts else _rest_of(texts[0]))}]


def _rest_of(block: Block) -> Block:
    return {name: value for name, value in block.items() if name == "cache_control"}
