"""Budgets: what could cost too much is refused before it costs anything, and the refusal says enough."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from middleware._asgi import Scope
from middleware._body import Body, read_body
from middleware._state import (
    COMPLETION,
    DEFAULTED,
    PRINCIPAL,
    RESERVATION,
    Account,
    Completion,
    Principal,
    Reservation,
)
from middleware.budget import BudgetMiddleware
from middleware.limits import LimitsMiddleware
from middleware.policy.budget import Balance, Exceeded, Slot, limits
from middleware.stores.budgets import MemoryBudgets

from .asgi import Answer, call

pytestmark = pytest.mark.anyio

DOLLAR = 10**9
DAILY = Account("project:shop", daily_budget=DOLLAR)
BODY = b'{"model":"m","max_tokens":5,"messages":[]}'
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = Slot("project:shop", "day", "2026-11-23")


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class App:
    """Answers what it is told to, and says what that has cost."""

    def __init__(self, cost: int | None = 0, status: int = 200) -> None:
        self.cost = cost
        self.status = status
        self.asked = 0
        self.reservations: list[Reservation | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        state = scope.get("state") or {}
        self.reservations.append(state.get(RESERVATION))
        state[COMPLETION] = Completion("p", "m", cost_nano=self.cost)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})


def at_most(nano: int | None) -> Any:
    return lambda body, scope: nano


async def ask(app: Any, *accounts: Account, body: bytes = BODY, **request: Any) -> Answer:
    principal = Principal("shop", "k1", accounts)
    return await call(app, body=body, state={PRINCIPAL: principal}, **request)


async def test_a_request_that_could_exceed_the_budget_is_refused_before_it_is_asked() -> None:
    below = App(cost=DOLLAR // 10)
    app = BudgetMiddleware(below, price=at_most(DOLLAR // 2), budgets=MemoryBudgets(clock=Clock()))
    statuses = [(await ask(app, DAILY)).status for _ in range(8)]
    # 10 cents each: after the sixth, 40 cents are left of the dollar and 50 could be needed.
    assert statuses == [200] * 6 + [402] * 2
    assert below.asked == 6


async def test_a_refusal_names_the_budget_what_is_spent_and_when_it_begins_anew() -> None:
    budgets = MemoryBudgets(clock=Clock())
    app = BudgetMiddleware(App(cost=DOLLAR), price=at_most(DOLLAR), budgets=budgets)
    assert (await ask(app, DAILY)).status == 200
    answer = await ask(app, DAILY)
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["type"]) == (402, "budget_exceeded", "insufficient_quota")
    assert error["message"] == (
        "The daily budget of project 'shop' is $1.00: $1.00 of it is spent, and this request may cost up to "
        "$1.00. The budget begins anew at 2026-11-24 00:00 UTC."
    )


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/chat/completions", "insufficient_quota"),
        ("/v1/responses", "insufficient_quota"),
        ("/v1/messages", "billing_error"),
    ],
)
async def test_a_refusal_is_final_and_never_puts_a_client_to_sleep(path: str, kind: str) -> None:
    app = BudgetMiddleware(App(), price=at_most(2 * DOLLAR))
    answer = await ask(app, DAILY, path=path)
    assert answer.status == 402
    assert answer.json()["error"]["type"] == kind
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers


async def test_a_request_larger_than_what_is_left_is_refused_where_a_smaller_one_passes() -> None:
    def price(body: Body, scope: Scope) -> int:
        return int(body.json()["max_tokens"])

    app = BudgetMiddleware(App(cost=0), price=price)
    account = Account("key:abc", monthly_budget=1000)
    large = await ask(app, account, body=b'{"max_tokens":1001}')
    assert large.status == 402
    assert "monthly budget of key 'abc'" in large.json()["error"]["message"]
    assert "A lower limit of output tokens" in large.json()["error"]["message"]
    assert (await ask(app, account, body=b'{"max_tokens":1000}')).status == 200


async def test_what_is_put_aside_for_others_counts_and_is_worth_another_try() -> None:
    go = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await App(cost=1)(scope, receive, send)

    budgets = MemoryBudgets(clock=Clock())
    app = BudgetMiddleware(slow, price=at_most(DOLLAR * 6 // 10), budgets=budgets)
    first = asyncio.create_task(ask(app, DAILY))
    await asyncio.sleep(0)
    assert budgets.balance(TODAY) == Balance(0, DOLLAR * 6 // 10)
    second = await ask(app, DAILY)
    assert second.status == 402
    assert "$0.60 is put aside for requests under way" in second.json()["error"]["message"]
    assert (second.headers["x-should-retry"], second.headers["retry-after"]) == ("true", "1")
    go.set()
    assert (await first).status == 200
    assert budgets.balance(TODAY) == Balance(1, 0)
    assert (await ask(app, DAILY)).status == 200


async def test_every_budget_of_every_account_holds() -> None:
    accounts = [
        Account("project:shop", daily_budget=100, monthly_budget=250),
        Account("key:k1", daily_budget=60),
    ]
    clock = Clock()
    budgets = MemoryBudgets(clock=clock)
    app = BudgetMiddleware(App(cost=50), price=at_most(50), budgets=budgets)
    seen = []
    for _ in range(3):
        seen.append([(await ask(app, *accounts)).status for _ in range(2)])
        # Another key of the project: its own budget is none, the project's is the same.
        seen.append([(await ask(app, accounts[0])).status for _ in range(2)])
        clock.now += timedelta(days=1)
    assert seen == [[200, 402], [200, 402], [200, 402], [200, 402], [200, 402], [402, 402]]
    clock.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert (await ask(app, *accounts)).status == 200


async def test_the_budget_that_is_in_the_way_for_longest_is_the_one_named() -> None:
    app = BudgetMiddleware(App(), price=at_most(50), budgets=MemoryBudgets(clock=Clock()))
    answer = await ask(app, Account("project:shop", daily_budget=40, monthly_budget=40))
    assert "monthly" in answer.json()["error"]["message"]
    assert "begins anew at 2026-12-01 00:00 UTC" in answer.json()["error"]["message"]


async def test_callers_without_a_budget_are_not_looked_at() -> None:
    def price(body: Body, scope: Scope) -> int:
        raise AssertionError("nobody's money is at stake")

    app = BudgetMiddleware(App(), price=price)
    for accounts in ((), (Account("project:shop", rpm=5),)):
        assert (await ask(app, *accounts, body=b"not JSON")).status == 200
    assert (await call(app, body=BODY)).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/responses/input_tokens"),
        ("GET", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/elsewhere"),
    ],
)
async def test_what_costs_nothing_is_not_counted(method: str, path: str) -> None:
    app = BudgetMiddleware(App(), price=at_most(None))
    assert (await ask(app, DAILY, method=method, path=path)).status == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/embeddings", "/V1//Embeddings/", "/completions", "/chat", "/v1/responses", "/v1/messages"],
)
async def test_what_costs_money_is_counted_however_its_path_is_written(path: str) -> None:
    app = BudgetMiddleware(App(), price=at_most(2 * DOLLAR))
    assert (await ask(app, DAILY, path=path)).status == 402


async def test_a_free_model_answers_when_the_budget_is_used_up() -> None:
    below = App()
    app = BudgetMiddleware(below, price=at_most(0))
    assert (await ask(app, Account("project:shop", daily_budget=0))).status == 200
    assert below.reservations == [None]


async def test_an_unknown_price_is_refused_by_the_name_of_its_model() -> None:
    below = App()
    app = BudgetMiddleware(below, price=at_most(None), price_hint="Give it in PRICES_FILE.")
    answer = await ask(app, DAILY)
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (402, "price_unknown", "model")
    assert (
        error["message"]
        == "Nobody knows what the model 'm' costs, and there is a budget to keep. Give it in PRICES_FILE."
    )
    assert answer.headers["x-should-retry"] == "false"
    assert below.asked == 0
    odd = await ask(app, DAILY, body=b'{"model":["' + b"m" * 5000 + b'"]}', path="/v1/messages")
    assert odd.status == 402
    assert len(odd.body) < 500


class Broken(MemoryBudgets):
    async def reserve(self, reservation_id: str, accounts: Sequence[Account], nano: int) -> Exceeded | None:
        raise ConnectionError("password=canary")


async def test_a_store_that_cannot_answer_is_a_503_and_says_nothing_of_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    below = App()
    answer = await ask(BudgetMiddleware(below, price=at_most(1), budgets=Broken()), DAILY)
    assert answer.status == 503
    assert answer.json()["error"]["code"] == "budget_unavailable"
    assert answer.headers["retry-after"] == "1"
    assert below.asked == 0
    assert "ConnectionError" in caplog.text
    assert "canary" not in caplog.text + answer.body.decode()


async def test_a_store_that_cannot_answer_may_be_told_to_let_requests_pass() -> None:
    below = App()
    app = BudgetMiddleware(below, price=at_most(1), budgets=Broken(), refuse_unavailable=False)
    assert (await ask(app, DAILY)).status == 200
    assert below.reservations == [None]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"'])
async def test_what_cannot_be_priced_is_a_400(body: bytes) -> None:
    answer = await ask(BudgetMiddleware(App(), price=at_most(1)), DAILY, body=body)
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "invalid_json"


async def test_the_price_is_asked_about_what_is_really_going_to_be_sent() -> None:
    asked: list[tuple[bytes, set[str]]] = []

    def price(body: Body, scope: Scope) -> int:
        asked.append((body.bytes(), scope["state"].get(DEFAULTED, set())))
        return 1

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        _, _, body = await read_body(scope, receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body.bytes()})

    app = LimitsMiddleware(BudgetMiddleware(echo, price=price), default_max_tokens=7)
    answer = await ask(app, DAILY, body=b'{"messages":[]}')
    assert answer.json() == {"messages": [], "max_tokens": 7}
    await ask(app, DAILY)
    assert asked == [(answer.body, {"max_tokens"}), (BODY, set())]


@pytest.mark.parametrize(
    ("cost", "status", "spent"),
    [
        (3, 200, 3),
        (3, 502, 3),  # an upstream that failed late may have charged all the same
        (None, 502, 0),
        (None, 200, 10),  # nobody knows: what was put aside counts
    ],
)
async def test_the_reservation_is_settled_to_the_cost(cost: int | None, status: int, spent: int) -> None:
    budgets = MemoryBudgets(clock=Clock())
    below = App(cost, status)
    await ask(BudgetMiddleware(below, price=at_most(10), budgets=budgets), DAILY)
    assert budgets.balance(TODAY) == Balance(spent, 0)
    (reservation,) = below.reservations
    assert reservation is not None
    assert (reservation.nano, len(reservation.id)) == (10, 32)


async def test_an_application_that_says_nothing_of_costs_is_charged_what_was_put_aside() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    budgets = MemoryBudgets(clock=Clock())
    await ask(BudgetMiddleware(silent, price=at_most(10), budgets=budgets), DAILY)
    assert budgets.balance(TODAY) == Balance(10, 0)


async def test_a_request_that_is_cancelled_is_settled() -> None:
    async def hanging(scope: Any, receive: Any, send: Any) -> None:
        scope["state"][COMPLETION] = Completion(cost_nano=4)
        await asyncio.sleep(60)

    budgets = MemoryBudgets(clock=Clock())
    task = asyncio.create_task(ask(BudgetMiddleware(hanging, price=at_most(10), budgets=budgets), DAILY))
    while budgets.balance(TODAY).reserved == 0:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budgets.balance(TODAY) == Balance(4, 0)


async def test_a_budget_that_is_made_smaller_than_what_is_spent_refuses_at_once() -> None:
    app = BudgetMiddleware(App(cost=50), price=at_most(50), budgets=MemoryBudgets(clock=Clock()))
    assert (await ask(app, Account("project:shop", daily_budget=100))).status == 200
    answer = await ask(app, Account("project:shop", daily_budget=20))
    assert answer.status == 402
    assert answer.headers["x-should-retry"] == "false"
    assert (await ask(app, Account("project:shop", daily_budget=100))).status == 200


async def test_two_hundred_callers_at_once_never_exceed_the_budget() -> None:
    async def slowly(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.001)
        await App(cost=30)(scope, receive, send)

    budgets = MemoryBudgets(clock=Clock())
    app = BudgetMiddleware(slowly, price=at_most(40), budgets=budgets)
    account = Account("project:shop", daily_budget=1000)
    statuses: list[int] = []
    for _ in range(3):
        statuses += [
            answer.status for answer in await asyncio.gather(*(ask(app, account) for _ in range(200)))
        ]
    spent, reserved = budgets.balance(TODAY)
    assert spent == 30 * statuses.count(200)
    assert 1000 - 40 <= spent <= 1000
    assert reserved == 0
    assert set(statuses) == {200, 402}


async def test_what_was_put_aside_yesterday_is_no_debt_of_today() -> None:
    clock = Clock(datetime(2026, 11, 30, 23, 59, 59, 900_000, tzinfo=UTC))
    budgets = MemoryBudgets(clock=clock)
    account = Account("project:shop", daily_budget=100, monthly_budget=100)
    assert await budgets.reserve("late", [account], 80) is None
    clock.now += timedelta(seconds=1)
    assert await budgets.reserve("early", [account], 90) is None
    await budgets.settle(Reservation("late", 80), 70)
    assert [budgets.balance(slot) for slot in limits([account], clock.now)] == [Balance(0, 90)] * 2
    for _ in range(2):  # settling twice is settling once
        await budgets.settle(Reservation("early", 90), 20)
    assert [budgets.balance(slot) for slot in limits([account], clock.now)] == [Balance(20, 0)] * 2


async def test_other_scopes_pass() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    none: Any = None
    for kind in ("lifespan", "websocket"):
        scope = {"type": kind, "path": "/", "state": {PRINCIPAL: Principal("p", "k", (DAILY,))}}
        await BudgetMiddleware(app, price=at_most(1))(scope, none, none)
    assert seen == ["lifespan", "websocket"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","max_tokens":64000,"messages":[],"max_tokens":1}',
        b'{"model":"m","max_tokens":64000,"messages":[],"\\u006dax_tokens":1}',
        b'{"model":"m","max_tokens":1,"messages":[{"content":[{"type":"text","type":"image"}]}]}',
    ],
)
async def test_of_a_key_that_stands_twice_what_is_priced_is_what_goes_on(body: bytes) -> None:
    priced: list[Any] = []
    sent: list[bytes] = []

    def price(body: Body, scope: Scope) -> int:
        priced.append(body.json())
        return 1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append((await receive())["body"])
        await App()(scope, receive, send)

    assert (await ask(BudgetMiddleware(app, price=price), DAILY, body=body)).status == 200
    assert priced[0]["max_tokens"] == 1
    assert sent == [orjson.dumps(priced[0])]


async def test_what_says_everything_once_goes_on_byte_by_byte() -> None:
    body = b'{ "model": "m", "max_tokens": 1.0, "a": {"model": 12345678901234567890123} }'

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == body
        await App()(scope, receive, send)

    assert (await ask(BudgetMiddleware(app, price=at_most(1)), DAILY, body=body)).status == 200
