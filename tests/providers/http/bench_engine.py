"""What the engine costs, in microseconds of CPU of this process. Not a test: run it by hand.

    python -m tests.providers.http.bench_engine [--loop uvloop] [--client engine|face|httpx]

The server is another process (asyncio, httptools, uvloop when there). Three shapes: small POSTs at 64
at a time, one stream of 200 events that arrive together, and streams whose events arrive one by one.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httptools

from providers.http import Timeouts, open_client

_EVENT = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}\n\n'
)
_CHUNK = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
_SMALL = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRequest-Id: req_1\r\nContent-Length: 700\r\n\r\n"
    + b"x" * 700
)
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_HEADERS = (
    (b"x-api-key", b"sk-ant-" + b"k" * 90),
    (b"anthropic-version", b"2026-10-21"),
    (b"content-type", b"application/json"),
    (b"accept", b"text/event-stream"),
    (b"user-agent", b"gateway"),
)
_BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"a" * 1750 + b'"}]}'


class _Server(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.path = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.path = url

    def on_message_complete(self) -> None:
        if self.path == b"/small":
            self.transport.write(_SMALL)
        elif self.path == b"/together":
            self.transport.write(_STREAM + _CHUNK * 200 + b"0\r\n\r\n")
        else:
            self.transport.write(_STREAM)
            self._tick(100)

    def _tick(self, left: int) -> None:
        self.transport.write(_CHUNK if left else b"0\r\n\r\n")
        if left:
            asyncio.get_running_loop().call_later(0.005, self._tick, left - 1)


def _serve(sock: socket.socket) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Server, sock=sock)
        await server.serve_forever()

    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())


async def _measure(base: str, kind: str) -> None:
    if kind == "face":
        import httpx2

        from providers.http.httpx_transport import EngineTransport

        browser = httpx2.AsyncClient(transport=EngineTransport())
        headers = [(name.decode(), value.decode()) for name, value in _HEADERS]

        async def call(path: str) -> None:
            async with browser.stream("POST", base + path, content=_BODY, headers=headers) as response:
                async for _ in response.aiter_raw():
                    pass

        close: Callable[[], Awaitable[None]] = browser.aclose
    else:
        client = open_client("httpx" if kind == "httpx" else "engine", timeouts=Timeouts())

        async def call(path: str) -> None:
            async with await client.request("POST", base + path, headers=_HEADERS, body=_BODY) as response:
                while await response.read_some():
                    pass

        close = client.aclose

    async def many(path: str, workers: int, each: int) -> None:
        async def worker() -> None:
            for _ in range(each):
                await call(path)

        await asyncio.gather(*(worker() for _ in range(workers)))

    scale = 1 if kind == "engine" else 10
    await many("/small", 64, 5)
    for name, path, workers, each, events in (
        ("small POST, 64 at a time (us/request)", "/small", 64, 300 // scale, 1),
        ("200 events together (us/event)", "/together", 4, 300 // scale, 200),
        ("events 5 ms apart, 32 streams (us/event)", "/apart", 32, 3, 100),
    ):
        runs = []
        for _ in range(3):
            before = time.process_time()
            await many(path, workers, each)
            runs.append((time.process_time() - before) / (workers * each * events) * 1e6)
        print(f"{kind:7} {name:45} {sorted(runs)[1]:8.2f}")
    await close()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--loop", default="uvloop")
    options.add_argument("--client", default="engine")
    args = options.parse_args()
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = sock.getsockname()[1]
    server = multiprocessing.get_context("fork").Process(target=_serve, args=(sock,), daemon=True)
    server.start()
    work = _measure(f"http://127.0.0.1:{port}", args.client)
    try:
        if args.loop == "uvloop":
            import uvloop

            uvloop.run(work)
        else:
            asyncio.run(work)
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
