"""Tokens per minute and requests at a time: put aside before, charged as used after, nothing lost between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from middleware._state import COMPLETION, PRINCIPAL, Account, Completion, Principal
from middleware.policy.allowance import Rate
from middleware.quota import IMAGE_TOKENS, QuotaMiddleware, used_tokens
from middleware.stores.memory import MemoryStore

from .asgi import Answer, Client, body_messages, call, make_scope

pytestmark = pytest.mark.anyio

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
PROJECT = Account("project:acme", tpm=1000)


def account(**limits: int) -> tuple[Account, ...]:
    return (Account("project:acme", **limits),)


class Model:
    """An application that uses tokens, when it is let."""

    def __init__(self, used: int = 0, *, after: Callable[[], None] | None = None) -> None:
        self.used = used
        self.calls = 0
        self.running = 0
        self.most = 0
        self.gate: asyncio.Event | None = None
        self.after = after

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            scope["state"][COMPLETION] = Completion(input_tokens=self.used)
            if self.after is not None:
                self.after()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
        finally:
            self.running -= 1


async def ask(
    app: Any, accounts: tuple[Account, ...], value: Any = CHAT, path: str = "/v1/chat/completions"
) -> Answer:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return await call(app, path=path, body=raw, state={PRINCIPAL: Principal("acme", "k", accounts)})


async def test_the_headers_say_what_is_left_of_the_minute() -> None:
    answer = await ask(QuotaMiddleware(Model()), account(tpm=1000))
    assert answer.status == 200
    assert answer.headers["x-ratelimit-limit-tokens"] == "1000"
    size = int(len(orjson.dumps(CHAT)) / 3.5)
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) == 1000 - size - 50
    assert answer.headers["x-ratelimit-reset-tokens"].endswith("s")


async def test_six_hundred_tokens_at_once_do_not_pass_a_limit_of_one_hundred() -> None:
    """The race of counting only what has ended: 663 tokens under a limit of 100."""
    model = Model(used=33)
    model.gate = asyncio.Event()
    app = QuotaMiddleware(model)
    body = {"max_tokens": 25, "prompt": "0123456"}  # some 10 tokens in
    asking = [asyncio.create_task(ask(app, account(tpm=100), body, "/v1/completions")) for _ in range(20)]
    await asyncio.sleep(0.05)
    model.gate.set()
    answers = [await task for task in asking]
    assert [a.status for a in answers].count(200) == model.calls == 2
    assert {a.status for a in answers} == {200, 429}


async def test_a_refusal_says_what_it_needed_what_is_left_and_when() -> None:
    app = QuotaMiddleware(Model(used=990))
    assert (await ask(app, account(tpm=1000))).status == 200
    answer = await ask(app, account(tpm=1000))
    assert answer.status == 429
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert "1000 tokens a minute of project acme" in error["message"]
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert answer.headers["x-ratelimit-remaining-tokens"] in ("10", "11")
    anthropic = await ask(app, account(tpm=1000), path="/v1/messages")
    assert anthropic.json()["error"]["type"] == "rate_limit_error"


async def left(store: MemoryStore, limit: int = 1000) -> int:
    return store.take_now("acme", [Rate("tokens:project:acme", limit, 0)]).rates[0].remaining


@pytest.mark.parametrize("used", [0, 7, 64, 500, 900])
async def test_in_the_end_what_was_used_is_charged_no_more_and_no_less(used: int) -> None:
    store = MemoryStore(clock=lambda: 1000.0)
    await ask(QuotaMiddleware(Model(used), store=store), account(tpm=1000))
    assert await left(store) == 1000 - used


async def test_a_debt_is_paid_before_the_next_request() -> None:
    store = MemoryStore(clock=lambda: 1000.0)
    app = QuotaMiddleware(Model(used=1500), store=store)
    assert (await ask(app, account(tpm=1000))).status == 200
    refused = await ask(app, account(tpm=1000))
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 30


async def test_a_failure_and_an_abort_give_everything_back() -> None:
    store = MemoryStore(clock=lambda: 1000.0)
    limits = account(tpm=1000, concurrent=1)

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        await ask(QuotaMiddleware(fails, store=store), limits)
    assert await left(store) == 1000

    model = Model()
    model.gate = asyncio.Event()
    app = QuotaMiddleware(model, store=store)
    asking = asyncio.create_task(ask(app, limits))
    await asyncio.sleep(0.01)
    assert await left(store) < 1000
    assert (await ask(app, limits)).status == 429
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await left(store) == 1000
    assert store._used == {}


async def test_an_abort_is_charged_what_it_is_known_to_have_used() -> None:
    store = MemoryStore(clock=lambda: 1000.0)

    def gone() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await ask(QuotaMiddleware(Model(300, after=gone), store=store), account(tpm=1000))
    assert await left(store) == 700


def test_cached_input_counts_and_an_answer_out_of_our_own_cache_does_not() -> None:
    completion = Completion(
        input_tokens=1,
        output_tokens=10,
        cache_read_tokens=100,
        cache_write_5m_tokens=1000,
        cache_write_1h_tokens=10_000,
        reasoning_tokens=5,
    )
    assert used_tokens(completion) == 11_111
    completion.cache_hit = True
    assert used_tokens(completion) == 0
    assert used_tokens(None) == 0


async def test_a_request_that_could_never_pass_is_told_so_and_is_not_repeated() -> None:
    model = Model()
    answer = await ask(QuotaMiddleware(model), account(tpm=100), {**CHAT, "x": "y" * 1000})
    assert (answer.status, model.calls) == (429, 0)
    assert "can never pass" in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"


async def test_one_that_is_only_too_large_with_its_answer_passes_when_the_whole_minute_is_there() -> None:
    app = QuotaMiddleware(Model(used=100))
    large = {**CHAT, "max_tokens": 32_000}
    assert (await ask(app, account(tpm=100), large)).status == 200
    assert (await ask(app, account(tpm=100), large)).status == 429


async def test_a_share_of_a_limit_admits_what_the_whole_limit_would() -> None:
    app = QuotaMiddleware(Model(used=80), store=MemoryStore(share=0.25))
    body = {**CHAT, "x": "y" * 100}  # some 60 tokens in: more than the share of 50
    assert (await ask(app, account(tpm=200), body)).status == 200
    assert (await ask(app, account(tpm=200), body)).status == 429


@pytest.mark.parametrize(
    ("body", "path", "output"),
    [
        ({"max_tokens": 70}, "/v1/chat/completions", 70),
        ({"max_completion_tokens": 71}, "/v1/chat/completions", 71),
        ({"max_output_tokens": 72}, "/v1/responses", 72),
        ({"max_tokens": 50, "max_completion_tokens": 60}, "/v1/chat/completions", 60),
        ({"max_output_tokens": 0}, "/v1/chat/completions", 300),
        ({"max_tokens": 0}, "/v1/responses", 300),
        ({"max_completion_tokens": 0}, "/v1/messages", 300),
        ({"max_tokens": 32_000}, "/v1/messages", 400),
        ({}, "/v1/messages", 300),
        ({"max_tokens": "many"}, "/v1/messages", 300),
        ({"max_tokens": -1}, "/v1/messages", 300),
        ({"max_tokens": True}, "/v1/messages", 300),
        ({"max_tokens": 20, "n": 4}, "/v1/chat/completions", 80),
        ({"max_tokens": 20, "n": 4, "best_of": 10}, "/v1/completions", 200),
        ({"max_tokens": 20, "n": 10**18}, "/v1/completions", 400),
        ({"max_tokens": 20, "n": -3}, "/v1/completions", 20),
        ({"input": "text"}, "/v1/embeddings", 0),
        ([], "/v1/chat/completions", 0),
    ],
)
async def test_the_most_that_may_be_answered_is_put_aside(body: Any, path: str, output: int) -> None:
    app = QuotaMiddleware(Model(), max_output=400, default_output=300)
    answer = await ask(app, account(tpm=10_000), body, path)
    size = int(len(orjson.dumps(body)) / 3.5)
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) == 10_000 - size - output


async def test_pictures_are_not_counted_as_text() -> None:
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 10_000
    body = {**CHAT, "messages": [{"role": "user", "content": [{"type": "image_url", "url": picture}] * 2}]}
    answer = await ask(QuotaMiddleware(Model()), account(tpm=100_000), body)
    taken = 100_000 - int(answer.headers["x-ratelimit-remaining-tokens"])
    assert 2 * IMAGE_TOKENS + 50 < taken < 2 * IMAGE_TOKENS + 200


async def test_no_more_requests_than_allowed_are_under_way() -> None:
    model = Model()
    model.gate = asyncio.Event()
    app = QuotaMiddleware(model)
    asking = [asyncio.create_task(ask(app, account(concurrent=5))) for _ in range(60)]
    await asyncio.sleep(0.05)
    assert model.running == 5
    model.gate.set()
    answers = [await task for task in asking]
    assert [a.status for a in answers].count(200) == model.most == 5
    refused = next(a for a in answers if a.status == 429)
    assert refused.json()["error"]["code"] == "concurrency_limit_exceeded"
    assert "project acme" in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "1"
    assert (await ask(app, account(concurrent=5))).status == 200


async def test_every_account_holds_and_the_tightest_is_shown() -> None:
    accounts = (
        Account("project:acme", tpm=1000, concurrent=9),
        Account("key:k1", tpm=150, concurrent=1),
    )
    model = Model(used=100)
    app = QuotaMiddleware(model)
    answer = await ask(app, accounts)
    assert answer.headers["x-ratelimit-limit-tokens"] == "150"
    refused = await ask(app, accounts)
    assert refused.status == 429
    assert "key k1" in refused.json()["error"]["message"]
    other = (accounts[0], Account("key:k2", tpm=2000))
    taken = 1000 - int((await ask(app, other)).headers["x-ratelimit-remaining-tokens"])
    assert 150 <= taken <= 200, "what the key refused was charged to its project"


@pytest.mark.parametrize("limits", [{"tpm": 0}, {"concurrent": 0}, {"tpm": 100, "concurrent": -1}])
async def test_a_limit_of_nothing_lets_nothing_pass(limits: dict[str, int]) -> None:
    model = Model()
    answer = await ask(QuotaMiddleware(model), account(**limits))
    assert (answer.status, model.calls) == (429, 0)
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "accounts"),
    [
        ("/v1/chat/completions", ()),
        ("/v1/chat/completions", account(rpm=1)),
        ("/v1/messages/count_tokens", account(tpm=1, concurrent=0)),
        ("/v1/models", account(tpm=1)),
    ],
)
async def test_what_has_no_limit_passes_unread(path: str, accounts: tuple[Account, ...]) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        assert "gateway.body" not in scope["state"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    answer = await ask(QuotaMiddleware(app), accounts, b"not JSON", path)
    assert (answer.status, seen) == (200, [b"not JSON"])
    assert answer.headers == {}


async def test_without_a_principal_and_outside_of_http_nothing_is_done() -> None:
    model = Model()
    assert (await call(QuotaMiddleware(model), body=b"{}", state={})).status == 200
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    client = Client()
    await QuotaMiddleware(app)({"type": "lifespan"}, client.receive, client.send)
    assert passed == ["lifespan"]


async def test_a_body_that_is_not_json_is_refused_and_costs_nothing() -> None:
    store = MemoryStore()
    answer = await ask(QuotaMiddleware(Model(), store=store), account(tpm=1000), b"{")
    assert answer.status == 400
    assert await left(store) == 1000


async def test_a_client_that_leaves_within_its_body_costs_nothing() -> None:
    store = MemoryStore()
    client = Client(body_messages([b"{", b""])[:1])
    client.hang_up()
    scope = make_scope(state={PRINCIPAL: Principal("acme", "k", account(tpm=10, concurrent=1))})
    await QuotaMiddleware(Model(), store=store)(scope, client.receive, client.send)
    assert client.sent == []
    assert store._used == {}
