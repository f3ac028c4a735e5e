"""What every handler needs: JSON answers, refusals in the caller's dialect, the parsed body."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import orjson
from blacksheep import Content, Request, Response

from middleware._asgi import Scope
from middleware._body import Body, BodyError
from middleware._reject import Rejection, dialect_of, envelope
from middleware._state import BODY, COMPLETION, REQUEST_ID, Completion
from providers.errors import ProviderError

from ..errors import rejection_of

logger = logging.getLogger("gateway")

Handler = Callable[[Request], Awaitable[Response]]
Headers = Sequence[tuple[bytes, bytes]]


def state_of(request: Request) -> dict[str, Any]:
    """``scope["state"]``, which BlackSheep's own scope type does not know."""
    return cast(dict[str, Any], cast(Scope, request.scope)["state"])


def json_response(payload: Any, headers: Headers = (), status: int = 200) -> Response:
    return Response(status, list(headers), Content(b"application/json", orjson.dumps(payload)))


def refuse(request: Request, rejection: Rejection) -> Response:
    """``rejection`` in the envelope of the path that was asked."""
    state = state_of(request)
    body = envelope(rejection, dialect_of(cast(Scope, request.scope)), state.get(REQUEST_ID))
    return json_response(body, rejection.headers, rejection.status)


def note_error(state: dict[str, Any], error: ProviderError) -> None:
    """Tell telemetry which upstream failed where; refusals of the caller's own request are not failures."""
    if error.status >= 500 or error.upstream_status is not None:
        completion = state.setdefault(COMPLETION, Completion())
        completion.upstream_error = (error.stage, error.code)
        completion.provider = completion.provider or error.provider


def guarded(handler: Handler) -> Handler:
    """Turn every failure of ``handler`` into an envelope; nothing else in the routes catches."""

    async def guard(request: Request) -> Response:
        try:
            return await handler(request)
        except ProviderError as error:
            note_error(state_of(request), error)
            return refuse(request, rejection_of(error))
        except BodyError as error:
            return refuse(request, Rejection(400, str(error), code="invalid_json"))
        except Exception:
            logger.exception("unhandled error, request %s", state_of(request).get(REQUEST_ID))
            return refuse(
                request, Rejection(500, "The gateway failed; its log has the details.", "api_error")
            )

    return guard


def json_object(request: Request) -> dict[str, Any]:
    """The request's JSON object, parsed once by whichever layer came first.

    Raises ``BodyError`` for anything else than a JSON object.
    """
    body: Body | None = state_of(request).get(BODY)
    if body is None:
        raise BodyError("The request has no body; a JSON object is needed.")
    return body.object()
