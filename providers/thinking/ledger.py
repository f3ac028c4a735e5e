"""Asking Claude with what it thought before, and keeping what it thinks now.

A turn is restored when the caller replays its tool calls and text, the model is the same, and all that stands
before it is, byte for byte, what the model had before it when it wrote the turn. That rule needs no other: a
turn that was bound to thinking which is missing now does not fit, while one that was written after the gap
does. The restored blocks are part of the prefix of those that follow.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ..errors import BadRequest, ProviderError
from ..translate._check import Block
from ..translate.chat_anthropic import AnthropicRequest, History
from ..translate.chunks import chat_writer
from ..translate.messages import Turn
from ..types import ChatCall, ModelCapabilities, ModelInfo, NewWriter, Writer
from .recording import Part, RecordingWriter, blocks_of
from .stores import MemoryStore, ThinkingStore
from .turns import (
    MAX_KEY,
    REFUSED,
    KeptTurn,
    PromptDigest,
    kept_turn,
    refused_behind,
    thinks,
    turn_key,
    without_thinking,
)

_log = logging.getLogger(__name__)
#: What the API says of thinking that it will not have back ("`thinking` block is bound to a different
#: conversation", "Invalid `signature` in `thinking` block", "Expected `thinking` …, but found …"), and not of
#: parameters ("thinking.enabled.budget_tokens: …").
_ABOUT_THINKING = re.compile(r"signature|thinking`? block|`(?:redacted_)?thinking`", re.IGNORECASE)

Response = TypeVar("Response")


class Translate(Protocol):
    """``to_anthropic`` with all its other arguments."""

    def __call__(self, *, history: History) -> AnthropicRequest: ...


class Asked(NamedTuple, Generic[Response]):
    """``call`` is what the reply is to be made for: its writer may keep what it writes."""

    call: ChatCall
    request: AnthropicRequest
    response: Response


class ThinkingLedger:
    """Stateless but for its ``store``, which several providers may share."""

    def __init__(self, store: ThinkingStore | None = None) -> None:
        self._store = MemoryStore() if store is None else store

    async def ask(
        self,
        call: ChatCall,
        info: ModelInfo,
        translate: Translate,
        send: Callable[[AnthropicRequest], Awaitable[Response]],
    ) -> Asked[Response]:
        """Translate ``call`` with the thinking that belongs to it and send it; once more without any thinking
        in the history when the upstream refuses that. ``send`` raises ``ProviderError`` for a refusal."""
        history = _Exchange(self._store, call)
        may_think = _may_think(info.capabilities)
        if may_think and (keys := _keys(call.body)) and history.session:
            history.kept = await self._store.get(history.session, keys)
        request = translate(history=history)
        try:
            response = await send(request)
        except BadRequest as refusal:
            if not (_is_about_thinking(refusal) and history.forget(request.body["messages"])):
                raise
            _log.info("%s refused replayed thinking: asked again without it", refusal.provider)
            request = translate(history=history)
            response = await send(request)
        if may_think and "tools" in request.body:
            call = replace(call, writer=history.writer(call.writer or chat_writer, request))
        return Asked(call, request, response)


class _Exchange:
    """One request and its answer; a :class:`~providers.translate.chat_anthropic.History`."""

    __slots__ = ("_call", "_forgetful", "_prompt", "_session", "_store", "kept")

    def __init__(self, store: ThinkingStore, call: ChatCall) -> None:
        self._store = store
        self._call = call
        self._forgetful = False
        self._prompt: PromptDigest | None = None
        self._session: str | None = None
        #: What is known of the turns in the history, by :func:`turn_key`.
        self.kept: Mapping[str, KeptTurn] = {}

    @property
    def session(self) -> str:
        """Finding it out costs something: once, and only where it is needed."""
        if self._session is None:
            self._session = self._call.session()
        return self._session

    def restore(self, tools: list[Block], system: list[Block], messages: list[Turn]) -> None:
        """See :class:`~providers.translate.chat_anthropic.History`.

        Thinking that the caller itself has brought is believed, up to the first turn that is known not to
        fit: what follows it is bound to what has been left out.
        """
        self._prompt = prompt = PromptDigest(tools, system, messages)
        gap = self._forgetful
        if not self.kept and not gap:
            return
        for index, turn in enumerate(messages):
            if turn["role"] != "assistant":
                continue
            content: list[Block] = turn["content"]
            kept = self.kept.get(turn_key(content))
            if kept is not None and kept.was_refused_elsewhere(prompt, index):
                kept = None
            if kept is not None and self._fits(kept, content, prompt, index):
                turn["content"] = kept.put_into(content)
                continue
            gap = gap or kept is not None
            if gap and thinks(content):
                turn["content"] = without_thinking(content)

    def forget(self, messages: list[Turn]) -> bool:
        """The upstream has refused ``messages`` for their thinking: it is not sent again behind the same
        prefix, and after a second refusal nowhere. False when there is none in them.

        One request may differ from all others of its conversation (a tool that is asked for in words)."""
        refused: dict[str, KeptTurn] = {}
        found = False
        prompt = self._prompt and self._prompt.anew()
        for index, turn in enumerate(messages):
            if turn["role"] != "assistant" or not thinks(turn["content"]):
                continue
            found = True
            if (key := turn_key(turn["content"])) and prompt is not None:
                before = self.kept.get(key)
                again = before is not None and not before.blocks
                refused[key] = REFUSED if again else refused_behind(prompt.before(index))
        if not found:
            return False
        self.kept, self._forgetful = {}, True
        if self.session and refused:
            self._store.put(self.session, refused)
        return True

    def writer(self, new: NewWriter, request: AnthropicRequest) -> NewWriter:
        """``new``, with the answer to ``request`` being kept."""
        wire_names = {original: wire for wire, original in request.reply.tool_names.items()}

        def recording(*, streaming: bool, include_usage: bool, legacy: bool) -> Writer:
            writer = new(streaming=streaming, include_usage=include_usage, legacy=legacy)
            return RecordingWriter(writer, partial(self._keep, wire_names))

        return recording

    def _fits(self, kept: KeptTurn, content: list[Block], prompt: PromptDigest, index: int) -> bool:
        return (
            bool(kept.blocks)
            and kept.model == self._call.model
            and kept.prefix == prompt.before(index)
            and kept.is_said_in(content)
        )

    def _keep(self, wire_names: Mapping[str, str], parts: Sequence[Part]) -> None:
        """Keep the turn that an answer consists of."""
        prompt, blocks = self._prompt, blocks_of(parts, wire_names)
        key = turn_key(blocks)
        if key and prompt is not None and self.session:
            turn = kept_turn(self._call.model, prompt.whole(), blocks)
            self._store.put(self.session, {key: turn})


def _may_think(can: ModelCapabilities) -> bool:
    return can.thinks_by_default or bool(can.thinking - {"disabled"})


def _is_about_thinking(refusal: ProviderError) -> bool:
    return refusal.upstream_status == 400 and _ABOUT_THINKING.search(refusal.message) is not None


def _keys(body: Mapping[str, Any]) -> list[str]:
    """What the assistant turns of a chat may be kept under. Whatever is wrong with them is not said here."""
    messages = body.get("messages")
    keys: list[str] = []
    for message in messages if isinstance(messages, list) else ():
        if type(message) is not dict or message.get("role") != "assistant":
            continue
        arrays = (message.get("content"), message.get("thinking_blocks"))
        keys += [turn_key(parts) for parts in arrays if type(parts) is list]
        calls = message.get("tool_calls")
        if type(calls) is list and calls and type(first := calls[0]) is dict:
            call_id = first.get("id")
            if type(call_id) is str and len(call_id) <= MAX_KEY:
                keys.append(call_id)
    return [key for key in keys if key]
