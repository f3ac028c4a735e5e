"""Run as a script in a stranger's project: every middleware alone, in one framework.

The project owns a folder called ``middleware`` and has the wheel installed; nothing of this repository
is importable. ``kit`` is a copy of ``tests/middleware/asgi.py``.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import gw_middleware  # type: ignore[import-not-found]
from kit import call  # type: ignore[import-not-found]

import middleware

App = Any
Install = Callable[[Any, dict[str, Any]], Awaitable[App]]
CHAT = "/v1/chat/completions"
BODY = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}'


# ---- the four frameworks: POST CHAT answers the body it was sent, GET /slow takes its time


async def starlette(kind: Any, options: dict[str, Any]) -> App:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def slow(request: Request) -> Response:
        await asyncio.sleep(5)
        return Response("late")

    routes = [Route(CHAT, echo, methods=["POST"]), Route("/slow", slow)]
    return Starlette(routes=routes, middleware=[Middleware(kind, **options)])


async def fastapi(kind: Any, options: dict[str, Any]) -> App:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    app = FastAPI()
    app.add_middleware(kind, **options)

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def slow() -> str:
        await asyncio.sleep(5)
        return "late"

    echo.__annotations__ = {"request": Request, "return": Response}
    app.add_api_route(CHAT, echo, methods=["POST"])
    app.add_api_route("/slow", slow)
    return app


async def litestar(kind: Any, options: dict[str, Any]) -> App:
    from litestar import Litestar, Request, get, post
    from litestar.middleware import DefineMiddleware

    async def echo(request: Any) -> bytes:
        return bytes(await request.body())

    async def slow() -> str:
        await asyncio.sleep(5)
        return "late"

    echo.__annotations__ = {"request": Request, "return": bytes}
    slow.__annotations__ = {"return": str}
    handlers = [post(CHAT, status_code=200)(echo), get("/slow")(slow)]
    return Litestar(handlers, middleware=[DefineMiddleware(kind, **options)], openapi_config=None)


async def blacksheep(kind: Any, options: dict[str, Any]) -> App:
    from blacksheep import Application, Content, Request, Response

    app = Application()

    async def echo(request: Request) -> Response:
        return Response(200, content=Content(b"application/json", await request.read() or b""))

    async def slow() -> str:
        await asyncio.sleep(5)
        return "late"

    echo.__annotations__ = {"request": Request, "return": Response}
    app.router.add_post(CHAT, echo)
    app.router.add_get("/slow", slow)
    await app.start()  # type: ignore[no-untyped-call]
    return kind(app, **options)  # BlackSheep's own middlewares are not ASGI: wrap it from outside


FRAMEWORKS: dict[str, Install] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "litestar": litestar,
    "blacksheep": blacksheep,
}


# ---- one case for every middleware: it does its work, and what it should let pass it lets pass


async def echoes(app: App, **request: Any) -> Any:
    answer = await call(app, path=CHAT, body=BODY, **request)
    assert (answer.status, answer.body) == (200, BODY), (answer.status, answer.body)
    return answer


async def telemetry(install: Install, module: Any) -> None:
    metrics = importlib.import_module("gw_middleware._metrics").Metrics()
    app = await install(module.TelemetryMiddleware, {"metrics": metrics, "gateway": "foreign"})
    answer = await echoes(app, headers={"x-request-id": "abc"})
    assert answer.headers["x-request-id"] == "abc"
    assert answer.headers["x-gateway"] == "foreign"
    assert b'gateway_requests_total{model="none",provider="none",status="200"} 1.0' in metrics.render()[0]


async def disconnect(install: Install, module: Any) -> None:
    app = await install(module.DisconnectMiddleware, {"deadline": 0.1})
    await echoes(app)
    answer = await call(app, method="GET", path="/slow")
    assert answer.status == 504, answer.status


async def auth(install: Install, module: Any) -> None:
    app = await install(module.AuthMiddleware, {"keys": ["a-key"]})
    assert (await call(app, path=CHAT, body=BODY)).status == 401
    await echoes(app, headers={"authorization": "Bearer a-key"})


async def rate_limit(install: Install, module: Any) -> None:
    app = await install(module.RateLimitMiddleware, {"rpm": 1})
    assert (await echoes(app)).headers["x-ratelimit-remaining"] == "0"
    assert (await call(app, path=CHAT, body=BODY)).status == 429


async def budget(install: Install, module: Any) -> None:
    state = importlib.import_module("gw_middleware._state")
    app = await install(module.BudgetMiddleware, {"price": lambda body, scope: 6})
    await echoes(app)  # nobody knows whose it is
    caller = state.Principal("a", "k", (state.Account("project:a", daily_budget=10),))
    await echoes(app, state={state.PRINCIPAL: caller})
    refused = await call(app, path=CHAT, body=BODY, state={state.PRINCIPAL: caller})
    assert (refused.status, refused.json()["error"]["code"]) == (402, "budget_exceeded"), refused


def as_caller(app: App, **what: Any) -> App:
    """``app`` behind a stranger's own authentication, which says who calls."""
    state = importlib.import_module("gw_middleware._state")
    policy = state.Policy(**what.pop("policy", {}))
    principal = state.Principal("p", "k", (state.Account("project:p", **what),), policy)

    async def authenticated(scope: Any, receive: Any, send: Any) -> None:
        mine = {**(scope.get("state") or {}), state.PRINCIPAL: principal}
        await app({**scope, "state": mine}, receive, send)

    return authenticated


async def quota(install: Install, module: Any) -> None:
    app = as_caller(await install(module.QuotaMiddleware, {}), tpm=40, concurrent=1)
    assert (await echoes(app)).headers["x-ratelimit-limit-tokens"] == "40"
    long = b'{"messages":[{"role":"user","content":"' + b"x" * 900 + b'"}]}'
    assert (await call(app, path=CHAT, body=long)).status == 429


async def key_policy(install: Install, module: Any) -> None:
    policy = {"models": ("m",), "max_tokens": 5}
    app = as_caller(await install(module.KeyPolicyMiddleware, {}), policy=policy)
    await echoes(app)
    assert (await call(app, path=CHAT, body=b'{"model":"another","messages":[]}')).status == 403
    got = (await call(app, path=CHAT, body=b'{"model":"m","max_tokens":9,"messages":[]}')).json()
    assert got["max_tokens"] == 5, got


async def body_limit(install: Install, module: Any) -> None:
    app = await install(module.BodyLimitMiddleware, {"max_bytes": len(BODY)})
    await echoes(app)
    assert (await call(app, path=CHAT, body=BODY + b" ")).status == 413


async def limits(install: Install, module: Any) -> None:
    app = await install(module.LimitsMiddleware, {"user_msg_max_chars": 2000, "default_max_tokens": 7})
    await echoes(app)
    long = b'{"messages":[{"role":"user","content":"' + b"x" * 9000 + b'"}]}'
    got = (await call(app, path=CHAT, body=long)).json()
    assert got["max_tokens"] == 7, got
    assert len(got["messages"][0]["content"]) <= 2000


async def request_guard(install: Install, module: Any) -> None:
    app = await install(module.RequestGuardMiddleware, {})
    await echoes(app)
    assert (await call(app, path=CHAT, headers=[("host", "a"), ("host", "b")])).status == 400


async def keep_alive(install: Install, module: Any) -> None:
    app = await install(module.KeepAliveMiddleware, {"interval": 0.05})
    await echoes(app)

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.2)
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    alone = await call(module.KeepAliveMiddleware(silent, interval=0.05), path=CHAT, body=b'{"stream": true}')
    assert (alone.status, b": keep-alive" in alone.body) == (200, True), alone


async def cors(install: Install, module: Any) -> None:
    app = await install(module.CorsMiddleware, {"origins": ["https://a.example.com"]})
    answer = await echoes(app, headers={"origin": "https://a.example.com"})
    assert answer.headers["access-control-allow-origin"] == "https://a.example.com"
    asked = {"origin": "https://a.example.com", "access-control-request-method": "POST"}
    assert (await call(app, method="OPTIONS", path=CHAT, headers=asked)).status == 204


CASES = {
    case.__name__: case
    for case in (
        telemetry,
        cors,
        disconnect,
        auth,
        rate_limit,
        body_limit,
        keep_alive,
        key_policy,
        quota,
        limits,
        budget,
        request_guard,
    )
}


async def main(framework: str, installed: Path) -> None:
    assert middleware.__doc__ == "The stranger's own.", middleware.__file__
    assert Path(gw_middleware.__file__).is_relative_to(installed), gw_middleware.__file__
    public = {m.name for m in pkgutil.iter_modules(gw_middleware.__path__) if not m.ispkg}
    public = {name for name in public if not name.startswith("_")}
    assert public == set(CASES), f"middlewares without a case here, or the reverse: {public ^ set(CASES)}"
    for name, case in CASES.items():
        module = importlib.import_module(f"gw_middleware.{name}")
        try:
            await case(FRAMEWORKS[framework], module)
        except Exception as error:
            raise AssertionError(f"{name} in {framework}") from error
        print("works:", name)
    strangers = {"gw", "providers", "perf"} & {name.partition(".")[0] for name in sys.modules}
    assert not strangers, f"the wheel reaches outside itself: {strangers}"


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
