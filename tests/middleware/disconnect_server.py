"""The application that ``test_disconnect_sockets.py`` runs under real servers.

``?id=`` names a request; ``/events`` answers how each one ended, as the application itself saw it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson

from middleware.disconnect import DisconnectMiddleware

ENDED: dict[str, str] = {}

_SSE = [(b"content-type", b"text/event-stream")]
_TICK = b"data: tick\n\n"


async def _body(receive: Any) -> bytes:
    whole = b""
    while True:
        message = await receive()
        whole += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return whole


async def _answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _write(send: Any, headers: list[Any], piece: bytes, pause: float) -> None:
    """Write until somebody stops it."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(pause)


async def _work(kind: str, receive: Any, send: Any) -> None:
    if kind != "unread":
        body = await _body(receive)
    match kind:
        case "echo":
            await _answer(send, body)
        case "slow":
            await asyncio.sleep(0.06)
            await _answer(send, body)
        case "sse":
            await _write(send, _SSE, _TICK, 0.02)
        case "chunked":
            await _write(send, [(b"content-type", b"application/json")], b"[1,", 0.02)
        case "sized":
            await _write(send, [(b"content-length", b"1000000")], b"x", 0.02)
        case "flood":
            await _write(send, _SSE, b"data: " + b"x" * 500_000 + b"\n\n", 0)
        case "listen":
            listener = asyncio.create_task(receive())
            try:
                await asyncio.sleep(30)
            finally:
                ENDED["listener"] = (await asyncio.wait_for(listener, 5))["type"]
        case _:
            await asyncio.sleep(30)


async def _guarded(scope: Any, receive: Any, send: Any) -> None:
    name = scope["query_string"].decode().removeprefix("id=")
    ENDED[name] = "running"
    try:
        await _work(scope["path"].rsplit("/", 1)[1], receive, send)
    except asyncio.CancelledError:
        ENDED[name] = "cancelled"
        raise
    else:
        ENDED[name] = "complete"


_plain = DisconnectMiddleware(_guarded, deadline=20)
_strict = DisconnectMiddleware(_guarded, deadline=0.3, write_timeout=0.5)
_patient = DisconnectMiddleware(_guarded, deadline=20, write_timeout=0.5)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/events":
        await _answer(send, orjson.dumps(ENDED))
    elif path.startswith("/strict/"):
        await _strict(scope, receive, send)
    elif path.startswith("/patient/"):
        await _patient(scope, receive, send)
    else:
        await _plain(scope, receive, send)


async def _hypercorn(port: int) -> None:
    """hypercorn's own command forks a worker and reloads signals; in one process it is simpler."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    stop = asyncio.Event()
    import signal

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    await serve(app, config, shutdown_trigger=stop.wait)


if __name__ == "__main__":
    asyncio.run(_hypercorn(int(sys.argv[1])))
