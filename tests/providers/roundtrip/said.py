"""What a conversation says, whatever dialect it is written in: the measure of what is lost on the way.

What a target cannot express, and what is therefore no loss here:

*To Claude.* Blank texts (the API refuses them). A result that nobody asked for, a second one, and one that
comes after the assistant has spoken again. Thinking without a signature, and thinking that nothing follows.
The order of results, which becomes that of the calls, and whether they came before or after what the user
said. How arguments were spelt: JSON is compared as what it means; what is no object is kept as
``{"_raw": text}``. Names and ids that the API would refuse are mapped, and named back in the answer. Names
of files, the ``detail`` of images. Markers of the cache beyond four.

*To a chat.* Redacted thinking, and signatures. The order of texts and calls within one answer, and where one
text of it ends and the next begins. Images in a tool's result stand in a message behind it, after a note;
that a tool has failed is said in its text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from providers.translate.calls import parse_arguments
from providers.translate.messages import END_TURN, MISSING_RESULT, START_TURN
from providers.translate.messages_turns import LATER_NOTE, OWN_NOTE

from .conversations import Call, Conversation, Document, Image, Part, Result, Text, Thinking

Json = dict[str, Any]

_REMINDER = re.compile(r"<system-reminder>\n(.*)\n</system-reminder>", re.DOTALL)
_RETURNED = re.compile(r"Returned by the tool call .*:")


@dataclass(slots=True)
class Called:
    """A call and what became of it; ``result`` is None when nothing is recorded. ``arguments`` as JSON."""

    name: str
    arguments: str
    id: str = field(compare=False)
    result: list[str] | None = None
    failed: bool = False


@dataclass(slots=True)
class Said:
    """``turns``: who says what, in order; texts as they are, anything else with a word before it. ``note`` is
    a system message in the middle. ``calls`` of all turns, in order."""

    system: list[str] = field(default_factory=list)
    turns: list[tuple[str, list[str]]] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    #: Of users and of tools, in order.
    images: list[str] = field(default_factory=list, compare=False)

    def add(self, role: str, *texts: str) -> None:
        if not self.turns or self.turns[-1][0] != role:
            self.turns.append((role, []))
        self.turns[-1][1].extend(texts)
        self.images += filter(_is_image, texts)

    def own(self) -> Said:
        """Without the turns that the API demands at the beginning and the end, and that nobody has said.
        A note before anybody has said anything is one of the system."""
        turns = self.turns[1:] if self.turns[:1] == [("user", [START_TURN])] else self.turns
        turns = turns[:-1] if turns[-1:] == [("user", [END_TURN])] else turns
        noted = turns[0][1] if turns and turns[0][0] == "note" else []
        return Said([*self.system, *noted], turns[1:] if noted else turns, self.calls, self.images)

    def for_chats(self) -> Said:
        """As far as a chat can be told."""
        told = Said(system=["\n\n".join(self.system)] if self.system else [])
        # Images of tools and of users follow each other there.
        mixed = any(_is_image(part) for call in self.calls for part in call.result or ())
        for role, texts in self.turns:
            if (kept := _without_images(texts) if mixed else texts) or role == "assistant":
                told.add(role, *kept)
        told.turns = [
            (role, _run_together(texts) if role == "assistant" else texts) for role, texts in told.turns
        ]
        told.calls = [
            Called(call.name, call.arguments, call.id, _one_text(call.result)) for call in self.calls
        ]
        if mixed:
            told.turns.append(("images", self.images))
        return told


def _is_image(text: str) -> bool:
    return text.startswith("image ")


def _without_images(texts: list[str]) -> list[str]:
    return [text for text in texts if not _is_image(text)]


def _run_together(texts: list[str]) -> list[str]:
    joined = "".join(text for text in texts if not text.startswith(("thinking ", "redacted ")))
    return [joined.replace("\n", "")] if joined else []


def _one_text(result: list[str] | None) -> list[str] | None:
    texts = _without_images(result or [])
    return ["\n".join(texts)] if texts else result and []


def _canonical(arguments: Any) -> str:
    return orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()


# What a conversation says by itself.


def said_by(talk: Conversation) -> Said:
    """``talk`` without what Claude cannot be told (see above)."""
    said = Said()
    waiting: list[Called] = []  # calls that results may still answer
    began = closed = False
    thoughts: list[str] = []
    for turn in talk.turns:
        closed = closed or (turn.role != "assistant" and bool(waiting))
        texts = [found for part in turn.parts if (found := _told(part))]
        match turn.role:
            case "system" | "developer":
                thoughts = []
                if not began:
                    said.system += texts
                elif texts:
                    said.add("note", *texts)
            case "user":
                began, thoughts = True, []
                if texts:
                    said.add("user", *texts)
            case "assistant":
                began = True
                for part in turn.parts:
                    if isinstance(part, Thinking):
                        thoughts += filter(None, [_told(part)])
                        continue
                    if not (isinstance(part, Call) or _told(part)):
                        continue
                    if closed:
                        waiting, closed = [], False
                    said.add("assistant", *thoughts)
                    thoughts = []
                    if isinstance(part, Call):
                        waiting.append(_called(part))
                        said.calls.append(waiting[-1])
                    else:
                        said.add("assistant", _told(part))
            case "tool":
                began, thoughts = True, []
                (result,) = turn.parts
                assert isinstance(result, Result)
                call = next((c for c in waiting if c.id == result.call_id and c.result is None), None)
                if call is not None:
                    call.result = [found for part in result.parts if (found := _told(part))]
                    said.images += filter(_is_image, call.result)
                    call.failed = result.failed
    return said.own()


def _told(part: Part) -> str:
    match part:
        case Text(text):
            return text if text.strip() else ""
        case Image(url=url) if url:
            return f"image {url}"
        case Image(media_type, data):
            return f"image data:{media_type};base64,{data}"
        case Document(data):
            return f"document {data}"
        case Thinking(text, redacted=True):
            return f"redacted {text}"
        case Thinking(text, signature=signature) if signature:
            return f"thinking {signature} {text}"
    return ""


def _called(call: Call) -> Called:
    custom = call.tool.kind == "custom"
    arguments = {"input": call.arguments} if custom else parse_arguments(call.arguments)
    return Called(call.tool.full_name, _canonical(arguments), call.id)


# What a request in Anthropic's dialect says.


def said_in_messages(body: Json, names: dict[str, str] | None = None) -> Said:
    """``names``: the names of tools as the caller knows them, by those in ``body``."""
    said = Said(system=[block["text"] for block in body.get("system", [])])
    by_id: dict[str, Called] = {}
    for message in body["messages"]:
        for block in message["content"]:
            kind = block["type"]
            if kind == "tool_result":
                call = by_id[block["tool_use_id"]]
                assert call.result is None, "two results for one call"
                call.result, call.failed = _result_in_messages(block), block.get("is_error", False)
                said.images += filter(_is_image, call.result)
                if call.failed and call.result == [MISSING_RESULT]:
                    call.result, call.failed = None, False
            elif kind == "tool_use":
                name = (names or {}).get(block["name"], block["name"])
                call = Called(name, _canonical(block["input"]), block["id"])
                assert call.id not in by_id, "one id for two calls"
                by_id[call.id] = call
                said.calls.append(call)
                said.add("assistant")
            else:
                role, text = _block_said(message["role"], block)
                said.add(role, text)
    return said.own()


def _result_in_messages(block: Json) -> list[str]:
    content = block.get("content", [])
    inner = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [_block_said("user", part)[1] for part in inner]


def _block_said(role: str, block: Json) -> tuple[str, str]:
    match block["type"]:
        case "text" if role == "user" and (note := _REMINDER.fullmatch(block["text"])):
            return "note", note[1]
        case "text":
            return ("note" if role == "system" else role), block["text"]
        case "thinking":
            return role, f"thinking {block['signature']} {block['thinking']}"
        case "redacted_thinking":
            return role, f"redacted {block['data']}"
        case "document":
            return role, f"document {block['source']['data']}"
    source = block["source"]
    url = source["url"] if source["type"] == "url" else f"data:{source['media_type']};base64,{source['data']}"
    return role, f"image {url}"


# What a chat says.


def said_in_chat(body: Json) -> Said:
    """A chat in good order: results right behind their calls."""
    said = Said()
    by_id: dict[str, Called] = {}
    began = False
    for message in body["messages"]:
        role, parts = message["role"], _chat_parts(message["content"])
        if role == "system":
            if began:
                said.add("note", *parts)
            else:
                said.system += parts
            continue
        began = True
        if role == "tool":
            by_id[message["tool_call_id"]].result = _without_words(parts)
        elif role == "assistant":
            said.add("assistant", *parts)
            for call in message.get("tool_calls", ()):
                function = call["function"]
                arguments = _canonical(orjson.loads(function["arguments"]))
                by_id[call["id"]] = called = Called(function["name"], arguments, call["id"])
                said.calls.append(called)
        else:
            _user_said(said, parts, by_id)
    return said.own()


def _chat_parts(content: Any) -> list[str]:
    if content is None or content == "":
        return []
    return [content] if isinstance(content, str) else [_chat_part(part) for part in content]


def _chat_part(part: Json) -> str:
    match part["type"]:
        case "text":
            text: str = part["text"]
            return text
        case "image_url":
            return f"image {part['image_url']['url']}"
    return f"document {part['file']['file_data'].removeprefix('data:application/pdf;base64,')}"


def _without_words(parts: list[str]) -> list[str] | None:
    """A result without what the translation has said of it."""
    text = "\n".join(parts)
    if text.endswith(LATER_NOTE):
        text = text.removesuffix(LATER_NOTE).removesuffix("\n")
    text = text.removeprefix("Error: ")
    if text == MISSING_RESULT:
        return None
    return [text] if text and text != "the tool failed and returned nothing." else []


def _user_said(said: Said, parts: list[str], by_id: dict[str, Called]) -> None:
    """What the user says, and before it the images that tools have returned, each behind a line about it."""
    returned: Called | None = None
    for part in parts:
        if _RETURNED.fullmatch(part):
            returned = by_id[part.removeprefix("Returned by the tool call ").removesuffix(":")]
        elif returned is not None and _is_image(part):
            assert returned.result is not None
            returned.result.append(part)
            said.images.append(part)
        elif part == OWN_NOTE:
            returned = None
        else:
            returned = None
            note = _REMINDER.fullmatch(part)
            said.add("user" if note is None else "note", part if note is None else note[1])
