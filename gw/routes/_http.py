"""What every handler needs: JSON answers, refusals in the caller's dialect, the parsed body."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import orjson
from blacksheep import Content, Request, Response, StreamedContent

from middleware._asgi import Scope
from middleware._body import Body, BodyError
from middleware._reject import Rejection, dialect_of, envelope
from middleware._state import BODY, REFUSED, REQUEST_ID, SAVINGS
from providers.errors import NotConfigured, ProviderError

from ..dispatch import Target
from ..errors import rejection_of
from ..ledger.book import LedgerFull
from ..settle import note_error

logger = logging.getLogger("gateway")

Handler = Callable[[Request], Awaitable[Response]]
Headers = Sequence[tuple[bytes, bytes]]


# no-transform: a proxy that compresses would hold events back; x-accel-buffering: nginx's own switch.
SSE_HEADERS = ((b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no"))


#: Marks a number of tokens that nobody has counted.
ESTIMATED = (b"x-gateway-estimated", b"input_tokens")


async def _no_events() -> AsyncIterator[bytes]:
    """What BlackSheep insists on checking; never iterated."""
    yield b""


class EventStream(StreamedContent):
    """``events`` as the body of a response, one send per item, no generator around the generator."""

    def __init__(self, content_type: bytes, events: AsyncIterator[bytes]) -> None:
        super().__init__(content_type, _no_events)
        self._events = events

    def get_parts(self) -> AsyncIterator[bytes]:  # type: ignore[override]  # their stub forgets the generator
        return self._events


def scope_of(request: Request) -> Scope:
    """The ASGI scope, which BlackSheep types more narrowly than the specification does."""
    return cast(Scope, request.scope)


def state_of(request: Request) -> dict[str, Any]:
    return cast(dict[str, Any], scope_of(request)["state"])


def json_response(payload: Any, headers: Headers = (), status: int = 200) -> Response:
    return Response(status, list(headers), Content(b"application/json", orjson.dumps(payload)))


def refuse(request: Request, rejection: Rejection) -> Response:
    """``rejection`` in the envelope of the path that was asked."""
    state = state_of(request)
    state[REFUSED] = ("gateway", rejection.code or rejection.type)
    body = envelope(rejection, dialect_of(scope_of(request)), state.get(REQUEST_ID))
    return json_response(body, rejection.headers, rejection.status)


def guarded(handler: Handler) -> Handler:
    """Turn every failure of ``handler`` into an envelope; nothing else in the routes catches."""

    async def guard(request: Request) -> Response:
        try:
            return await handler(request)
        except ProviderError as error:
            note_error(state_of(request), error)
            return refuse(request, rejection_of(error, dialect_of(scope_of(request))))
        except (BodyError, LedgerFull) as error:
            return refuse(request, error.rejection())
        except Exception:
            logger.exception("unhandled error, request %s", state_of(request).get(REQUEST_ID))
            return refuse(
                request, Rejection(500, "The gateway failed; its log has the details.", "api_error")
            )

    # BlackSheep wraps a handler once more unless this says Response itself, not its name as a text.
    guard.__annotations__ = {"request": Request, "return": Response}
    return guard


def json_object(request: Request) -> dict[str, Any]:
    """The request's JSON object, parsed once by whichever layer came first.

    Raises ``BodyError`` for anything else than a JSON object.
    """
    body: Body | None = state_of(request).get(BODY)
    if body is None:
        raise BodyError("The request has no body; a JSON object is needed.")
    return body.json_object()


def target_headers(target: Target, model: str, state: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Who answered, and what the layers above took out of the request (estimated tokens)."""
    headers = [
        (b"x-provider", target.provider.name.encode()),
        (b"x-model-source", target.source.encode()),
        (b"x-gateway-model", model.encode("ascii", "replace")),
    ]
    if savings := state.get(SAVINGS):
        headers.append((b"x-gateway-saved-tokens", b"%d" % sum(saving.tokens for saving in savings)))
    if target.warning is not None:
        # RFC 7234 §5.5.7: 299 is a miscellaneous persistent warning.
        headers.append((b"warning", f'299 claude-gateway "{target.warning}"'.encode("ascii", "replace")))
    return headers


def cannot_count(target: Target) -> NotConfigured:
    """The refusal to count tokens for a provider that neither counts nor estimates."""
    return NotConfigured(
        f"Tokens of {target.requested!r} cannot be counted here.",
        provider=target.provider.name,
        status=501,
        code="not_supported",
    )


def dropped_header(names: Sequence[str]) -> tuple[bytes, bytes]:
    """Names the parameters that were left out of the request."""
    return (b"x-gateway-dropped-params", ", ".join(names).encode("ascii", "replace"))
