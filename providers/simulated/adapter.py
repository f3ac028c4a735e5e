"""The simulated provider: the whole way of a request except the network.

A chat is translated to a Messages request as for Claude, answered by :mod:`.replies`, written as the
API's event stream and translated back by the very code that reads Claude's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from ..anthropic.models import FEATURES, ModelTable
from ..anthropic.passthrough import MessagesReply
from ..anthropic.reply import AnthropicReply
from ..errors import BadRequest
from ..http.types import Header
from ..spent import prompt_tokens
from ..thinking.ledger import ThinkingLedger
from ..thinking.stores import ThinkingStore
from ..translate.chat_anthropic import AnthropicRequest, to_anthropic
from ..translate.threads import check_unthreaded
from ..types import ChatCall, Exchange, MessagesCall, ModelInfo
from .events import events, sse
from .models import MODELS
from .prefix import count_tokens
from .replies import Plan, Planner, fingerprint

#: Seconds between two events of a stream: about the pace of a real model, quick enough for a demo.
PACE = 0.02


class SimulatedProvider:
    """See :class:`~providers.base.Provider`. ``pace`` is in seconds per event; 0 answers at once."""

    name = "simulated"
    features = FEATURES

    def __init__(self, *, pace: float = PACE, thinking_store: ThinkingStore | None = None) -> None:
        self._pace = pace
        self._ledger = ThinkingLedger(thinking_store)
        self._planner = Planner()
        self._models = [model.info(self.name) for model in MODELS.values()]
        self._table = ModelTable(self._models)

    async def chat(self, call: ChatCall) -> AnthropicReply:
        """See :class:`~providers.base.Provider`. Raises ``BadRequest`` as the translation does."""
        info, defaulted = self._table.get(call.model), call.max_tokens_defaulted
        translate = partial(
            to_anthropic, call.body, model=call.model, info=info, max_tokens_defaulted=defaulted
        )
        plan_for = partial(self._plan, call.exchange)
        call, request, plan = await self._ledger.ask(call, info, translate, plan_for)
        streaming = call.body.get("stream") is True
        reply = AnthropicReply(
            _stream(plan, self._pace if streaming else 0),
            request,
            call=call,
            provider=self.name,
            upstream_request_id=_request_id(plan),
        )
        await reply.start()
        return reply

    async def _plan(self, exchange: Exchange, request: AnthropicRequest) -> Plan:
        encoded = request.encode()  # refuses what JSON cannot carry, as on the way to a real upstream
        exchange.sending(partial(prompt_tokens, encoded))
        return self._planner.plan(request.body)

    async def messages(self, call: MessagesCall) -> MessagesReply:
        """See :class:`~providers.base.SpeaksMessages`. Raises ``BadRequest`` for a body that is no
        Messages request; it is not as strict as the API itself."""
        try:
            request = {**orjson.loads(call.body), "model": call.model}
            check_unthreaded(request)
            if call.endpoint == "count_tokens":
                response = _whole({"input_tokens": count_tokens(request)}, f"req_sim_{fingerprint(request)}")
            else:
                plan = self._planner.plan(request)
                streaming = request.get("stream") is True
                response = (
                    _stream(plan, self._pace) if streaming else _whole(plan.message(), _request_id(plan))
                )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadRequest("The request is not a Messages request.", provider=self.name) from error
        call.exchange.sending(partial(prompt_tokens, call.body))
        reply = MessagesReply(response, call, provider=self.name)
        await reply.start()
        return reply

    async def models(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`."""
        return list(self._models)

    def known(self) -> list[ModelInfo]:
        """See :class:`~providers.base.Provider`."""
        return list(self._models)

    async def aclose(self) -> None:
        """Nothing is open."""


def _request_id(plan: Plan) -> str:
    return plan.id.replace("msg_", "req_", 1)


def _stream(plan: Plan, pace: float) -> _Response:
    frames = [sse(event) for event in events(plan)]
    pieces = frames if pace else [b"".join(frames)]
    return _Response(b"text/event-stream", pieces, pace, _request_id(plan))


def _whole(body: dict[str, Any], request_id: str) -> _Response:
    return _Response(b"application/json", [orjson.dumps(body)], 0, request_id)


class _Response:
    """An :class:`~providers.http.types.HttpResponse` without a connection: one piece for each read."""

    status = 200
    attempts = 1

    def __init__(self, content_type: bytes, pieces: Sequence[bytes], pace: float, request_id: str) -> None:
        self.headers: Sequence[Header] = (
            (b"content-type", content_type),
            (b"request-id", request_id.encode()),
        )
        self._pieces = pieces
        self._pace = pace
        self._at = 0

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def ended(self) -> bool:
        return self._at >= len(self._pieces)

    async def read_some(self) -> bytes:
        if self._at >= len(self._pieces):
            return b""
        if self._pace and self._at:
            await asyncio.sleep(self._pace)
        piece = self._pieces[self._at] if self._at < len(self._pieces) else b""
        self._at += 1
        return piece

    async def read(self, limit: int = 32 * 1024 * 1024) -> bytes:
        rest = b"".join(self._pieces[self._at :])
        self._at = len(self._pieces)
        return rest

    async def aclose(self) -> None:
        self._at = len(self._pieces)

    async def __aenter__(self) -> _Response:
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.aclose()
