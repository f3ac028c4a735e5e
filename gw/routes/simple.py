"""``POST /chat``: a question in, its answer out, for scripts that need no SDK.

``{"message": "…"}`` or ``{"messages": […]}``, with ``model``, ``provider``, ``system`` and any parameter of a
chat completion beside it, is answered by ``{"reply", "model", "provider", "usage"}``.
"""

from __future__ import annotations

from typing import Any

from blacksheep import Request, Response

from providers.errors import BadRequest, ProtocolError

from ..dispatch import Dispatcher
from ._ask import ask
from ._http import Handler, dropped_header, guarded, json_object, json_response
from .chat import without_provider

#: What is said here, or in another way, to a provider.
_OWN = frozenset({"message", "messages", "model", "stream", "system"})
#: Their answers would not fit into one text.
_ELSEWHERE = ("tools", "functions", "audio", "modalities")


def chat(dispatcher: Dispatcher) -> Handler:
    """The handler. ``model`` in the answer is the model that gave it, by its provider's own name."""

    async def handle(request: Request) -> Response:
        body = json_object(request)
        call = as_chat(body)
        model, provider = body.get("model"), body.get("provider")
        target = dispatcher.resolve(dispatcher.default if model is provider is None else model, provider)
        reply, headers = await ask(request, target, call)
        if reply.dropped:
            headers.append(dropped_header(reply.dropped))
        answer = await reply.completion()
        return json_response(
            {
                "reply": _text(answer, target.provider.name),
                "model": reply.model,
                "provider": target.provider.name,
                "usage": answer.get("usage"),
            },
            headers,
        )

    return guarded(handle)


def _text(answer: dict[str, Any], provider: str) -> str:
    """What the first choice says. Raises ``ProtocolError``: the answer of an OpenAI-compatible upstream is
    passed on as it came."""
    choices = answer.get("choices")
    message = choices[0].get("message") if choices else None
    if not isinstance(message, dict):
        raise ProtocolError("The upstream answered without a message.", provider=provider)
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):  # as parts, which some do
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        raise ProtocolError("The upstream answered with something that is no text.", provider=provider)
    return content


def as_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The chat-completions request that ``body`` stands for. Raises ``BadRequest``."""
    if body.get("stream"):
        raise BadRequest(
            "/chat answers in one piece. For a stream use POST /v1/chat/completions.",
            param="stream",
            code="unsupported_value",
        )
    for name in _ELSEWHERE:
        if body.get(name):
            raise BadRequest(
                f"/chat answers with one text and takes no `{name}`. Use POST /v1/chat/completions.",
                param=name,
                code="unsupported_parameter",
            )
    messages = _messages(body.get("message"), body.get("messages"))
    system = body.get("system")
    if system is not None:
        if not isinstance(system, str):
            raise BadRequest("`system` must be a string.", param="system", code="invalid_type")
        messages = [{"role": "system", "content": system}, *messages]
    return {
        **{name: value for name, value in without_provider(body).items() if name not in _OWN},
        "messages": messages,
    }


def _messages(message: object, messages: object) -> list[Any]:
    if (message is None) == (messages is None):
        both = "not both" if message is not None else "there is neither"
        raise BadRequest(
            f"/chat takes `message` (a string) or `messages` (a list): {both}.",
            param="message",
            code="invalid_request",
        )
    if messages is not None:
        if not isinstance(messages, list) or not messages:
            raise BadRequest(
                "`messages` must be a list of at least one message.", param="messages", code="invalid_type"
            )
        return messages
    if not isinstance(message, str) or not message:
        raise BadRequest("`message` must be a non-empty string.", param="message", code="invalid_type")
    return [{"role": "user", "content": message}]
