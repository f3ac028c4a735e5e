"""Bound what a chat carries: system prompt, user messages, tool results; give ``max_tokens`` a default.

Reads:   the body of POSTs to the chat paths, in any of the three dialects, or a lone ``message`` (``/chat``)
Writes:  the body (clipped texts, ``max_tokens``); ``gateway.defaulted``; ``gateway.savings``;
         400 for a body that is not JSON
Streams: the request body is read whole (shared, see ``_body.py``); the answer is not touched
Limits:  counts characters, not tokens. A field of the wrong type is left for the application to refuse

What is left out is decided by each text and what stands before it, never by what follows, so a
conversation that grows keeps its prefix and the provider's prompt cache keeps hitting. Thinking, tool
calls, assistant text and the tools are never touched; a body in which nothing changes stays the bytes
that the client sent.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ._asgi import ASGIApp, Receive, Scope, Send
from ._body import Body, BodyError, ClientDisconnected, read_body
from ._chat import CHAT_PATHS, COUNT_PATHS, ChatView, Path, view
from ._paths import canonical, remembered
from ._reject import OnReject, reject_json
from ._state import DEFAULTED, Saving, add_saving
from .policy.clip import FLOOR, clip

_CHARS_PER_TOKEN = 4  # an estimate for the ledger; what was really used is the provider's to say
_START: Path = ("start",)
_NOBODY: tuple[Path, int] = ((), 0)


class LimitsMiddleware:
    """Clip long texts and bound answers that the client left unbounded.

    The limits are in characters; 0 or less switches one off. The system text at the start of the
    conversation shares one budget, consumed in order, as do the texts of one user message (a lone ``message``
    is one), of one tool result and of one system message further down. ``default_max_tokens`` is set when
    the client names no limit of its own (under any of the dialects' names) and asks for an answer: what
    only counts tokens is clipped as the request itself would be, and otherwise left alone.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        system_max_chars: int = 40_000,
        user_msg_max_chars: int = 120_000,
        tool_result_max_chars: int = 20_000,
        default_max_tokens: int = 1_200,
        paths: Collection[str] = CHAT_PATHS,
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self.limits = {
            kind: limit
            for kind, limit in (
                ("system", system_max_chars),
                ("user_text", user_msg_max_chars),
                ("tool_result", tool_result_max_chars),
            )
            if limit > 0
        }
        self.default_max_tokens = default_max_tokens
        self.paths = frozenset(map(canonical, paths))
        self._covers = remembered(lambda path: canonical(path) in self.paths)
        self._counts = remembered(lambda path: canonical(path) in COUNT_PATHS)
        self.on_reject = on_reject
        # No text has more characters than the JSON that holds it has bytes.
        self._harmless = max(min(self.limits.values(), default=0), FLOOR)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not self._covers(scope["path"]):
            await self.app(scope, receive, send)
            return
        # What only counts tokens has no answer to be bounded.
        default = 0 if self._counts(scope["path"]) else self.default_max_tokens
        try:
            scope, receive, body = await read_body(scope, receive)
            chat = None if self._is_within(body, default) else view(body.json(), scope["path"])
        except ClientDisconnected:
            return
        except BodyError as error:
            await self.on_reject(error.rejection())(scope, receive, send)
            return
        if chat is not None:
            scope = self._apply(scope, body, chat, default)
        await self.app(scope, receive, send)

    def _is_within(self, body: Body, default: int) -> bool:
        """Whether nothing can be left to do, seen without looking into the conversation."""
        value = body.json()
        return (
            not body.replaced
            and len(body.raw) <= self._harmless
            and isinstance(value, dict)
            and (default <= 0 or _names_limit(value))
        )

    def _apply(self, scope: Scope, body: Body, chat: ChatView, default: int) -> Scope:
        value, state = chat.body, scope["state"]
        if self.limits and (body.replaced or len(body.raw) > self._harmless):
            texts, left_out = clipped(chat, self.limits)
            if left_out > 0:
                value = chat.with_texts(texts)
                add_saving(state, Saving("limits", left_out, left_out // _CHARS_PER_TOKEN))
        if default > 0 and not _names_limit(value):
            name = "max_output_tokens" if chat.shape == "responses" else "max_tokens"
            value = {**value, name: default}
            state.setdefault(DEFAULTED, set()).add(name)
        return scope if value is chat.body else body.replace(scope, value)


def _names_limit(body: dict[str, Any]) -> bool:
    return (
        body.get("max_tokens") is not None
        or body.get("max_completion_tokens") is not None
        or body.get("max_output_tokens") is not None
    )


def clipped(chat: ChatView, limits: dict[str, int]) -> tuple[dict[Path, str], int]:
    """The texts of ``chat`` that exceed ``limits`` (kind → characters), shortened; and by how much.

    Pure and append-only: a text's budget depends on the texts before it alone. A text of up to
    ``clip.FLOOR`` characters is kept even when its budget is used up.
    """
    texts: dict[Path, str] = {}
    left_out = 0
    leading = True
    # Of each kind, whose budget is being consumed and what is left of it. Units of one kind follow
    # each other, though a user's texts may stand on both sides of tool results.
    running: dict[str, tuple[Path, int]] = {}
    for part in chat.parts():
        kind = part.kind
        leading = leading and kind == "system"
        text = part.text
        limit = limits.get(kind)
        if limit is None or text is None:
            continue
        unit = _START if leading else part.unit
        owner, room = running.get(kind, _NOBODY)
        if owner != unit:
            room = limit
        if len(text) > room:
            short = clip(text, max(room, FLOOR))
            texts[part.path] = short
            left_out += len(text) - len(short)
            text = short
        running[kind] = (unit, room - len(text))
    return texts, left_out
