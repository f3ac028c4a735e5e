"""Chat messages → the messages of Ollama's ``/api/chat``.

Roles are system, user, assistant and tool (https://docs.ollama.com/api/chat). A model's template expects
each tool call to be answered right behind it, which a chat client does not promise; so the results of
a turn are gathered and written in the order of the calls. What is written depends only on the messages
before it: a longer conversation begins with the bytes of the shorter one, its last turn aside, and
Ollama finds the prompt of the turn before in its cache.
"""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64
from typing import Any, NamedTuple

import orjson

from . import _check, content
from ._check import Block
from .calls import Call, PendingCalls, named_call, optional_text, read_calls, shaped_call
from .messages import LATER, MISSING_RESULT, START_TURN

#: What Ollama's runners decode (``image`` with the jpeg, png and webp decoders).
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp"})
#: Fields in which clients replay the reasoning of an earlier answer.
_REASONING = ("reasoning_content", "reasoning")

Message = dict[str, Any]


class Spoken(NamedTuple):
    """What one message says: its texts joined by line breaks, and its images in base64."""

    text: str
    images: list[str]

    def message(self, role: str) -> Message:
        found: Message = {"role": role, "content": self.text}
        if self.images:
            found["images"] = self.images
        return found


class OllamaConversation:
    """Assembles ``messages``; call :meth:`add` for each message, then :meth:`finish`.

    ``vision``, ``thinking`` and ``tools`` are what the model can do. A model that knows no tools has no
    template for calls and results either: those of an earlier model are told to it as plain text.
    """

    def __init__(self, *, vision: bool, thinking: bool, tools: bool, custom_tools: frozenset[str]) -> None:
        self.messages: list[Message] = []
        #: Characters of base64 in ``messages``, and how many images they are.
        self.image_chars = 0
        self.images = 0
        #: Whether a note stands in for an image or a document.
        self.noted = False
        self._past = False
        self._vision = vision
        self._thinking = thinking
        self._tools = tools
        self._custom = custom_tools
        self._calls: PendingCalls[Spoken] = PendingCalls()
        self._rest: list[Message] = []

    def add(self, message: object, at: str, *, past: bool = False) -> None:
        """The next message, which stands at the path ``at``. Raises ``BadRequest``.

        ``past``: it was answered already, maybe by a model that sees what this one cannot. Then a note takes
        the place of such a part, or no conversation with a picture in it could move here.
        """
        message = _check.obj(message, at)
        self._past = past
        role = _check.text(message.get("role"), f"{at}.role")
        match role:
            case "system" | "developer":
                text = _joined(content.text_blocks(message.get("content"), f"{at}.content"))
                if text:
                    self._rest.append({"role": "system", "content": text})
            case "user":
                self._add_user(message, at)
            case "assistant":
                self._add_assistant(message, at)
            case "tool" | "function":
                self._add_result(self._calls.asked_by(message, role, at), message, at)
            case _:
                raise _check.invalid(
                    f"{at}.role",
                    f"`{at}.role` must be system, developer, user, assistant, tool or function.",
                )

    def finish(self) -> None:
        """Close the last turn."""
        self._flush()
        self._begin()

    def instruct(self, text: str) -> None:
        """Put ``text`` behind the system prompt that the conversation begins with. Call it last."""
        first = self.messages[0]
        if first["role"] == "system":
            first["content"] += f"\n\n{text}"
        else:
            self.messages.insert(0, {"role": "system", "content": text})

    def _add_user(self, message: Block, at: str) -> None:
        body = message.get("content")
        place = f"{at}.content"
        if isinstance(body, str):
            spoken = Spoken("" if body.isspace() else body, [])
        else:
            blocks: list[Block] = []
            # Other dialects put what a tool has shown behind its result, where only a user may show things.
            told = self._calls.answered or _tells_of_result(body)
            for part, kind, where in content.parts(body, place):
                if kind == "tool_result":
                    call_id = _check.text(part.get("tool_use_id"), f"{where}.tool_use_id")
                    self._add_result(self._calls.with_id(call_id), part, where)
                elif (block := self._part(part, kind, where, told=told)) is not None:
                    blocks.append(block)
            spoken = self._spoken(blocks)
        if spoken.text or spoken.images:
            self._rest.append(spoken.message("user"))

    def _add_assistant(self, message: Block, at: str) -> None:
        body = message.get("content")
        calls: list[Call] = []
        texts: list[str] = []
        reasoning = next((value for name in _REASONING if isinstance(value := message.get(name), str)), "")
        if isinstance(body, list):
            for part, kind, place in content.parts(body, f"{at}.content"):
                if kind == "tool_use":
                    calls.append(shaped_call(part, place))
                elif kind == "thinking":
                    reasoning = reasoning or optional_text(part.get("thinking"), f"{place}.thinking")
                elif (block := content.plain_block(part, kind, place)) is not None:
                    texts.append(block["text"])
        elif body is not None:
            texts.append(_check.text(body, f"{at}.content"))
        if not any(texts) and (refusal := message.get("refusal")) is not None:
            texts = [_check.text(refusal, f"{at}.refusal")]
        if message.get("tool_calls") is not None:
            calls += read_calls(message["tool_calls"], f"{at}.tool_calls", self._custom, calls)
        if message.get("function_call") is not None:
            calls.append(named_call(message["function_call"], f"{at}.function_call", frozenset()))
        if not self._tools:
            texts += map(_told_call, calls)
        text = "\n".join(texts)
        text = "" if text.isspace() else text
        if not text and not calls:
            return
        turn = self._assistant_turn()
        if text:
            turn["content"] = f"{turn['content']}\n{text}" if turn["content"] else text
        if reasoning and self._thinking:
            turn["thinking"] = f"{turn['thinking']}\n{reasoning}" if "thinking" in turn else reasoning
        for call in calls:
            self._calls.expect(call)
            if self._tools:
                function = {"name": call.name, "arguments": call.arguments}
                turn.setdefault("tool_calls", []).append({"id": call.wire, "function": function})

    def _assistant_turn(self) -> Message:
        """The assistant message to extend: the last one, when nothing came behind it. Some clients
        split the calls of one answer over several messages."""
        if self._calls.answered or self._rest:
            self._flush()
        self._begin()
        if self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": ""})
        return self.messages[-1]

    def _begin(self) -> None:
        """See to it that a user speaks first. Clients that cut off what is old may leave no turn of a user,
        which templates refuse (that of Qwen 3.5: "No user query found in messages"); and a request without
        messages makes Ollama load the model only."""
        if all(message["role"] == "system" for message in self.messages):
            self.messages.append({"role": "user", "content": START_TURN})

    def _add_result(self, call: Call | None, message: Block, at: str) -> None:
        """The result of ``call``. One that nobody asked for is dropped."""
        body = message.get("content")
        if body is None or isinstance(body, str):
            spoken = Spoken(body or "", [])
        else:
            parts = content.parts(body, f"{at}.content")
            spoken = self._spoken(
                [block for part in parts if (block := self._part(*part, told=True)) is not None]
            )
        if call is not None:
            self._calls.answer(call, spoken)

    def _flush(self) -> None:
        """Write the results that the last calls wait for, and what came behind them."""
        for call, found in self._calls.drain():
            spoken = found or Spoken(MISSING_RESULT, [])
            if self._tools:
                result = spoken.message("tool")
                result["tool_name"] = call.name
                result["tool_call_id"] = call.wire
            else:
                text = f"Result of the tool {call.name}:\n{spoken.text}"
                result = Spoken(text, spoken.images).message("user")
            self.messages.append(result)
        self.messages += self._rest
        self._rest = []

    def _spoken(self, blocks: list[Block]) -> Spoken:
        images = [block["source"]["data"] for block in blocks if block["type"] == "image"]
        self.images += len(images)
        self.image_chars += sum(map(len, images))
        return Spoken(_joined(blocks), images)

    def _part(self, part: Block, kind: str, at: str, *, told: bool = False) -> Block | None:
        """One part of a user turn, or of a result (``told``), if it is something that Ollama takes. What a
        tool has returned nobody can send in another form: a refusal would end the agent's work."""
        block = content.user_block(part, kind, at)
        if block is None or block["type"] == "text":
            return block
        refusal = self._refusal(block)
        if refusal is None:
            return block
        if not (self._past or told):
            raise _check.invalid(at, *refusal)
        self.noted = True
        return {"type": "text", "text": _NOTES[block["type"]]}

    def _refusal(self, block: Block) -> tuple[str, str] | None:
        """Why this model cannot take ``block``, an image or a document, and the code of that."""
        if block["type"] == "document":
            return "Local models read no documents: send their text, or pictures of pages.", _UNSUPPORTED
        if not self._vision:
            return "This model reads no images; choose one that does.", _UNSUPPORTED
        source = block["source"]
        if source["type"] != "base64":
            return "Local models take images as base64 data: URLs only; nothing is fetched.", _UNSUPPORTED
        if source["media_type"] not in IMAGE_TYPES:
            return "Local models take jpeg, png and webp images only.", "unsupported_media_type"
        try:
            a2b_base64(source["data"].translate(_LINE_ENDS), strict_mode=True)
        except (NotBase64, ValueError):  # ValueError: not even ASCII
            return "The image is no valid base64.", "invalid_value"
        return None


_UNSUPPORTED = "unsupported_value"
_NOTES = {
    "image": "(An image was here, which this model cannot see.)",
    "document": "(A document was here, which this model cannot read.)",
}
#: Ollama's decoder passes over them.
_LINE_ENDS = {ord("\r"): None, ord("\n"): None}


def _joined(blocks: list[Block]) -> str:
    return "\n".join(block["text"] for block in blocks if block["type"] == "text")


def _tells_of_result(body: object) -> bool:
    """Whether a user's message holds what a call has returned after its answer (see ``responses_items``)."""
    first = body[0] if isinstance(body, list) and body else None
    return isinstance(first, dict) and first.get("text") == LATER


def _told_call(call: Call) -> str:
    """A call as a model without tools is told of it."""
    try:
        arguments = orjson.dumps(call.arguments).decode()
    except TypeError:  # the request cannot be sent with it anyway, and is refused when it is written
        arguments = str(call.arguments)[:1_000]
    return f"(Called the tool {call.name} with {arguments}.)"
