"""The same contract over stock httpx2: for proxies, for HTTP/2, and to rule the engine out.

Some 35 times the engine's CPU per request (docs/decisions/002-own-http-engine.md).
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Sequence
from importlib.util import find_spec

import httpx2

from ..errors import ProtocolError, ProviderError, Timeout, Unreachable
from .pool import refused
from .request import check
from .tls import ssl_context
from .types import Header, Timeouts


class StockClient:
    """An :class:`~.types.HttpClient` over ``httpx2.AsyncClient``; HTTP/2 when ``h2`` is installed.

    ``trust_env`` is on: the environment's proxies are what this client is for. Redirects are never
    followed, no header is added beyond ``Host`` and ``Content-Length``, bodies stay as they were sent.
    ``transport`` replaces httpx2's own, and with it everything said here about connections.

    Two things that the engine does and httpx2 2.16 does not: bytes that follow the end of an answer in the
    same segment are taken for the next answer on that connection, and a call that is cancelled in
    the middle of a TLS handshake leaves its socket to the garbage collector.
    """

    def __init__(
        self,
        *,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = 4096,
        keepalive: float = 50.0,
        trust_env: bool = True,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._closed = False
        self._client = httpx2.AsyncClient(
            verify=ssl_context(ca_file) if transport is None else True,
            http2=find_spec("h2") is not None,
            follow_redirects=False,
            trust_env=trust_env,
            transport=transport,
            limits=httpx2.Limits(
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=keepalive,
            ),
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> StockResponse:
        check(method, url, headers)
        if self._closed:
            raise refused()
        timeouts = timeouts or self._timeouts
        total_at = asyncio.get_running_loop().time() + timeouts.total
        limits = {
            "connect": _seconds(timeouts.connect),
            "pool": _seconds(timeouts.connect),
            "write": _seconds(timeouts.idle),
            "read": _seconds(timeouts.first_byte),
        }
        # A Request of our own rather than client.build_request: no default headers, above all no
        # Accept-Encoding, because the body is handed on as it comes.
        request = httpx2.Request(
            method, url, headers=list(headers), content=body, extensions={"timeout": limits}
        )
        try:
            async with asyncio.timeout_at(None if total_at == math.inf else total_at):
                response = await self._client.send(request, stream=True)
        except TimeoutError as exc:
            raise _timed_out("total") from exc
        except httpx2.HTTPError as exc:
            raise _translate(exc, "first_byte") from exc
        # httpcore looks its limits up when it starts to read the body, in this very dict.
        limits["read"] = _seconds(timeouts.idle)
        return StockResponse(response, total_at)

    async def aclose(self) -> None:
        self._closed = True
        await self._client.aclose()


class StockResponse:
    """See :class:`~.types.HttpResponse`; a read returns what httpx2 yields, which may be one chunk."""

    attempts = 1

    def __init__(self, response: httpx2.Response, total_at: float) -> None:
        self.status = response.status_code
        self.headers: Sequence[Header] = [(name.lower(), value) for name, value in response.headers.raw]
        self._response = response
        self._parts = response.aiter_raw()
        self._total_at = None if total_at == math.inf else total_at
        self._ended = False
        self._error: ProviderError | None = None

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def ended(self) -> bool:
        return self._ended and self._error is None

    async def read_some(self) -> bytes:
        if self._error is not None:
            raise self._error
        if self._ended:
            return b""
        try:
            async with asyncio.timeout_at(self._total_at):
                async for part in self._parts:
                    if part:
                        return part
            self._ended = True
            return b""
        except TimeoutError as exc:
            self._error = _timed_out("total")
            await self._response.aclose()
            raise self._error from exc
        except httpx2.HTTPError as exc:
            self._error = _translate(exc, "idle")
            raise self._error from exc
        except asyncio.CancelledError:
            self._error = _closed()
            await self._response.aclose()
            raise

    async def read(self, limit: int = 32 * 1024 * 1024) -> bytes:
        parts: list[bytes] = []
        size = 0
        while data := await self.read_some():
            size += len(data)
            if size > limit:
                await self.aclose()
                raise ProtocolError(
                    f"the upstream's answer exceeds {limit} bytes", code="upstream_too_large", retryable=False
                )
            parts.append(data)
        return b"".join(parts)

    async def aclose(self) -> None:
        if not self._ended and self._error is None:
            self._error = _closed()
        await self._parts.aclose()
        await self._response.aclose()

    async def __aenter__(self) -> StockResponse:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def _seconds(value: float) -> float | None:
    return None if value == math.inf else value


def _closed() -> ProtocolError:
    return ProtocolError("the response was closed before its end", code="response_closed")


def _timed_out(stage: str) -> Timeout:
    return Timeout(f"the upstream took too long ({stage})", stage=stage)


def _translate(exc: httpx2.HTTPError, reading: str) -> ProviderError:
    """httpx2's tree to ours; ``reading`` is the stage that a read time-out means now."""
    match exc:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return _timed_out("connect")
        case httpx2.WriteTimeout():
            return _timed_out("write")
        case httpx2.TimeoutException():
            return _timed_out(reading)
        case httpx2.ConnectError() | httpx2.ProxyError():
            return _unreachable(exc)
        case httpx2.ReadError() | httpx2.WriteError() | httpx2.CloseError():
            return ProtocolError("the upstream reset the connection", code="upstream_reset")
        case httpx2.RemoteProtocolError() if "closed" in str(exc) or "disconnected" in str(exc):
            # h11's "peer closed connection without…", httpcore's "Server disconnected without…":
            # the text is all that tells an early end from bad framing.
            return ProtocolError("the upstream closed before its answer ended", code="upstream_truncated")
        case _:
            return ProtocolError("the upstream's answer makes no sense")


def _unreachable(exc: BaseException) -> Unreachable:
    """httpx2 has one ConnectError; what happened is somewhere in its chain of causes."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return Unreachable("the upstream's name cannot be resolved", stage="dns", code="upstream_dns")
        if isinstance(cause, ssl.SSLError):
            retryable = not isinstance(cause, ssl.SSLCertVerificationError)
            return Unreachable(
                "TLS with the upstream failed", stage="tls", code="upstream_tls", retryable=retryable
            )
        cause = cause.__cause__ or cause.__context__
    return Unreachable("cannot connect to the upstream")
