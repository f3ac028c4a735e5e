"""The engine as an httpx2 transport, so that SDKs and any httpx2 caller share its pool.

    AsyncAnthropic(http_client=httpx2.AsyncClient(transport=EngineTransport(client)))

Not for the hot path: httpx2 itself costs some 190 µs a request, the anthropic SDK 940.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from ..errors import ProtocolError, ProviderError, Timeout, Unreachable
from .engine import EngineClient
from .request import RESERVED
from .types import HttpClient, HttpResponse, Timeouts


class EngineTransport(httpx2.AsyncBaseTransport):
    """Hands httpx2's requests to ``client``, which stays open when the transport closes; without a
    ``client`` it opens one of its own and closes it.

    httpx2's time-outs map as: ``connect`` and ``pool`` to connect (the longer of the two), ``read`` to
    first byte and idle (and the writing of a large body); None means none, and there is no total.
    Host, Content-Length and hop headers are the engine's own. Streamed request bodies are collected
    before they are sent. Errors become httpx2's: ``ConnectError``, ``ConnectTimeout``, ``ReadTimeout``,
    ``WriteTimeout``, ``ReadError`` (reset), ``RemoteProtocolError``, ``LocalProtocolError`` (refused here).
    """

    def __init__(self, client: HttpClient | None = None) -> None:
        self._client: HttpClient = client or EngineClient()
        self._owned = client is None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        url = request.url
        try:
            response = await self._client.request(
                request.method,
                (url.raw_scheme + b"://" + url.netloc + url.raw_path).decode("ascii"),
                headers=[item for item in request.headers.raw if item[0].lower() not in RESERVED],
                body=body,
                timeouts=_timeouts(request.extensions.get("timeout")),
            )
        except ValueError as exc:
            raise httpx2.LocalProtocolError(str(exc), request=request) from exc
        except ProviderError as exc:
            raise _translate(exc, request) from exc
        return httpx2.Response(
            response.status,
            headers=list(response.headers),
            stream=_Stream(response, request),
            extensions={"http_version": b"HTTP/1.1", "attempts": response.attempts},
        )

    async def aclose(self) -> None:
        if self._owned:
            await self._client.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, response: HttpResponse, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._response.read_some():
                yield data
        except ProviderError as exc:
            raise _translate(exc, self._request) from exc

    async def aclose(self) -> None:
        await self._response.aclose()


def _timeouts(given: Any) -> Timeouts:
    def seconds(name: str) -> float:
        value = given.get(name)
        return math.inf if value is None else float(value)

    if not given:
        return Timeouts(math.inf, math.inf, math.inf, math.inf)
    read = seconds("read")
    return Timeouts(max(seconds("connect"), seconds("pool")), read, read, math.inf)


def _translate(exc: ProviderError, request: httpx2.Request) -> httpx2.TransportError:
    kind: type[httpx2.TransportError] = httpx2.RemoteProtocolError
    if isinstance(exc, Timeout):
        kind = {"connect": httpx2.ConnectTimeout, "write": httpx2.WriteTimeout}.get(
            exc.stage, httpx2.ReadTimeout
        )
    elif isinstance(exc, Unreachable):
        kind = httpx2.ConnectError
    elif isinstance(exc, ProtocolError) and exc.code == "upstream_reset":
        kind = httpx2.ReadError
    return kind(exc.message, request=request)
