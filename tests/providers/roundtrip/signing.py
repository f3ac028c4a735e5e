"""Thinking that is signed as Claude signs it: for the very prompt that it answers.

A conversation is sent once for each of its turns, as a real session is. So what is signed here in the middle
of a conversation is only taken at its end if no later request has changed what stood before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from providers.simulated.prefix import sign
from providers.translate import responses_chat
from providers.translate.chat_anthropic import to_anthropic
from providers.translate.messages import END_TURN
from providers.translate.unsigned import without_unsigned
from providers.types import ModelInfo

from .conversations import Conversation, Part, Thinking, Turn
from .render import SIGNER, as_messages, as_responses

Json = dict[str, Any]


def upstream_of(dialect: str, info: ModelInfo) -> Callable[[Conversation], Json]:
    """What Claude is sent for a conversation in ``dialect``: ``messages`` or ``responses``."""

    def passed(talk: Conversation) -> Json:
        body = as_messages(talk)
        raw = orjson.dumps(body)
        found: Json = orjson.loads(without_unsigned(raw, body) or raw)
        return found

    def translated(talk: Conversation) -> Json:
        chat = responses_chat.to_chat(as_responses(talk), model=SIGNER, signed=True).body
        return to_anthropic(chat, model=SIGNER, info=info).body

    return passed if dialect == "messages" else translated


def signed(talk: Conversation, upstream: Callable[[Conversation], Json]) -> Conversation:
    """``talk`` with the signatures of all thinking that a model can have signed. What stands where no model
    can have answered (behind an assistant, in the beginning) is left unsigned, or out if it is redacted."""
    turns: list[Turn] = []
    for turn in talk.turns:
        if any(isinstance(part, Thinking) and part.signable for part in turn.parts):
            alone = not turns or turns[-1].role == "assistant"
            asked = {} if alone else upstream(replace(talk, turns=tuple(turns)))
            turn = replace(turn, parts=tuple(_signed(turn.parts, asked)))
        turns.append(turn)
    return replace(talk, turns=tuple(turns))


def _signed(parts: tuple[Part, ...], asked: Json) -> list[Part]:
    if not _answerable(asked):
        return [part for part in parts if not (isinstance(part, Thinking) and part.redacted)]
    return [
        replace(part, signature=sign(asked, asked["messages"], part.text))
        if isinstance(part, Thinking) and part.signable and not part.redacted
        else part
        for part in parts
    ]


def _answerable(asked: Json) -> bool:
    """Whether the request ends with something of the user's own."""
    messages = asked.get("messages") or [{"role": "assistant"}]
    last = messages[-1]
    return bool(last["role"] != "assistant" and last["content"] != [{"type": "text", "text": END_TURN}])
