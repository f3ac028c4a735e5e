"""Long texts are clipped, growing conversations keep their prefix, and nothing else is touched."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._body import read_body
from middleware._chat import view
from middleware._state import DEFAULTED, SAVINGS, Saving
from middleware.limits import LimitsMiddleware, clipped
from middleware.policy.clip import FLOOR
from tests.middleware.asgi import Client, answer_of, call
from tests.middleware.conversations import DIALECTS, WRONG_BODIES, Conversation, conversations

pytestmark = pytest.mark.anyio

LONG = "line of text\n" * 1000
LIMITS = {"system": 150, "user_text": 200, "tool_result": 100}


class Below:
    """The application: remembers what reached it, through the shared Body or through ``receive``."""

    def __init__(self, *, aware: bool = True) -> None:
        self.aware = aware
        self.state: dict[str, Any] = {}
        self.headers: dict[bytes, bytes] = {}
        self.raw = b""
        self.value: Any = None
        self.replaced = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.state = scope.get("state", {})
        self.headers = dict(scope["headers"])
        if self.aware:
            _, _, body = await read_body(scope, receive)
            self.raw, self.value, self.replaced = body.bytes(), body.json(), body.replaced
        else:
            self.raw = (await receive())["body"]
            self.value = orjson.loads(self.raw)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})


async def through(
    value: Any, *, path: str = "/v1/chat/completions", aware: bool = True, **options: Any
) -> Below:
    below = Below(aware=aware)
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    answer = await call(LimitsMiddleware(below, **options), path=path, body=raw)
    assert answer.status == 200
    return below


def clip_body(body: dict[str, Any]) -> dict[str, Any]:
    seen = view(body)
    assert seen is not None
    return seen.with_texts(clipped(seen, LIMITS)[0])


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


class TestContract:
    """P1 to P5 of the composition contract of rewriting middlewares."""

    @given(conversations(600), st.sampled_from(sorted(DIALECTS)), st.integers(0, 12))
    def test_a_longer_conversation_is_rewritten_to_a_continuation(
        self, talk: Conversation, dialect: str, cut: int
    ) -> None:
        body = DIALECTS[dialect](talk)
        turns = "input" if dialect == "responses" else "messages"
        after = clip_body(body)
        before = clip_body({**body, turns: body[turns][:cut]})
        assert orjson.dumps(after[turns]).startswith(orjson.dumps(before[turns])[:-1])
        assert {**after, turns: 0} == {**before, turns: 0}

    @given(conversations(600), st.sampled_from(sorted(DIALECTS)))
    def test_blocks_added_to_the_last_message_leave_the_earlier_ones_alone(
        self, talk: Conversation, dialect: str
    ) -> None:
        body = DIALECTS[dialect](talk)
        turns = "input" if dialect == "responses" else "messages"
        for index, item in enumerate(body[turns]):
            if isinstance(item.get("content"), list) and len(item["content"]) > 1:
                shorter = copy.deepcopy(body)
                del shorter[turns][index + 1 :]
                shorter[turns][index]["content"].pop()
                kept = clip_body(shorter)[turns][index]["content"]
                assert clip_body(body)[turns][index]["content"][: len(kept)] == kept

    @given(conversations(600), st.sampled_from(sorted(DIALECTS)))
    def test_rewriting_is_pure_and_settles_at_once(self, talk: Conversation, dialect: str) -> None:
        body = DIALECTS[dialect](talk)
        before = copy.deepcopy(body)
        once = clip_body(body)
        assert body == before
        assert clip_body(copy.deepcopy(body)) == once
        assert clip_body(once) is once

    @given(conversations(600), st.sampled_from(sorted(DIALECTS)))
    def test_only_system_user_and_tool_result_texts_change(self, talk: Conversation, dialect: str) -> None:
        before, after = view(body := DIALECTS[dialect](talk)), view(clip_body(body))
        assert before is not None
        assert after is not None
        for old, new in zip(before.parts(), after.parts(), strict=True):
            assert (old.kind, old.path) == (new.kind, new.path)
            assert old.kind in LIMITS or old.text == new.text

    @given(conversations(600), st.sampled_from(sorted(DIALECTS)))
    def test_every_budget_holds(self, talk: Conversation, dialect: str) -> None:
        seen = view(clip_body(DIALECTS[dialect](talk)))
        assert seen is not None
        spent: dict[Any, list[int]] = {}
        for part in seen.parts():
            if part.kind in LIMITS and part.text is not None:
                owner = (part.kind, None if part.kind == "system" else part.unit)
                spent.setdefault(owner, []).append(len(part.text))
        for (kind, _), sizes in spent.items():
            assert sum(sizes) <= LIMITS[kind] + FLOOR * len(sizes)

    @given(WRONG_BODIES)
    def test_no_json_makes_it_fail(self, body: Any) -> None:
        seen = view(body)
        if seen is not None:
            clipped(seen, LIMITS)

    async def test_a_body_in_which_nothing_changes_stays_its_bytes(self) -> None:
        raw = b'{ "max_tokens": 1e1, "messages" : [ {"role":"user","content":"hi"} ] }'
        below = await through(raw)
        assert below.raw == raw
        assert not below.replaced
        assert SAVINGS not in below.state
        assert DEFAULTED not in below.state
        assert below.headers[b"content-length"] == str(len(raw)).encode()


class TestClipping:
    async def test_the_system_prompt_has_one_budget_consumed_in_order(self) -> None:
        body = {
            "max_tokens": 1,
            "messages": [
                {"role": "system", "content": "a" * 80},
                {"role": "developer", "content": LONG},
                {"role": "system", "content": "b" * 100},
                {"role": "user", "content": "hi"},
            ],
        }
        messages = (await through(body, system_max_chars=300)).value["messages"]
        assert messages[0]["content"] == "a" * 80
        assert 100 < len(messages[1]["content"]) <= 220
        assert "characters left out" in messages[2]["content"]
        assert messages[3] == {"role": "user", "content": "hi"}

    async def test_a_system_message_further_down_has_a_budget_of_its_own(self) -> None:
        body = {
            "max_tokens": 1,
            "messages": [
                {"role": "system", "content": LONG},
                {"role": "user", "content": "hi"},
                {"role": "system", "content": LONG},
            ],
        }
        first, _, later = (await through(body, system_max_chars=300)).value["messages"]
        assert first == later
        assert 200 < len(later["content"]) <= 300

    async def test_each_user_message_has_its_own_budget_even_with_results_in_between(self) -> None:
        result = {"type": "tool_result", "tool_use_id": "t", "content": "r" * 250}
        mixed = user("a" * 200, LONG)
        mixed["content"].insert(1, result)
        body = {"max_tokens": 1, "messages": [mixed, user(LONG)]}
        below = await through(body, user_msg_max_chars=300, tool_result_max_chars=300)
        first, second = below.value["messages"]
        assert first["content"][0]["text"] == "a" * 200
        assert first["content"][1] == result
        assert len(first["content"][2]["text"]) <= 100
        assert 200 < len(second["content"][0]["text"]) <= 300

    async def test_each_tool_result_has_its_own_budget(self) -> None:
        results = [
            {"type": "tool_result", "tool_use_id": "1", "content": LONG},
            {"type": "tool_result", "tool_use_id": "2", "content": user(LONG, LONG)["content"]},
        ]
        below = await through(
            {"max_tokens": 1, "messages": [{"role": "user", "content": results}]}, tool_result_max_chars=300
        )
        one, two = below.value["messages"][0]["content"]
        assert 200 < len(one["content"]) <= 300
        assert 200 < len(two["content"][0]["text"]) <= 300
        assert len(two["content"][1]["text"]) <= FLOOR

    async def test_cache_markers_and_unknown_fields_survive(self) -> None:
        block = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}, "x": 1}
        body = {"max_tokens": 1, "safeguards": [], "messages": [{"role": "user", "content": [block]}]}
        value = (await through(body, user_msg_max_chars=300)).value
        clipped_block = value["messages"][0]["content"][0]
        assert {**clipped_block, "text": ""} == {**block, "text": ""}
        assert value["safeguards"] == []

    async def test_what_was_left_out_is_entered_in_the_ledger(self) -> None:
        below = await through({"max_tokens": 1, "messages": [user(LONG, "b")]}, user_msg_max_chars=300)
        left_out = len(LONG) - len(below.value["messages"][0]["content"][0]["text"])
        assert below.state[SAVINGS] == [Saving("limits", left_out, left_out // 4)]

    async def test_limits_of_zero_or_less_are_off(self) -> None:
        body = {"max_tokens": 1, "system": LONG, "messages": [user(LONG)]}
        off: dict[str, Any] = {"system_max_chars": 0, "user_msg_max_chars": -1, "tool_result_max_chars": 0}
        assert not (await through(body, **off)).replaced
        only_system = await through(body, **{**off, "system_max_chars": 300})
        assert len(only_system.value["system"]) <= 300
        assert only_system.value["messages"] == body["messages"]

    async def test_the_documented_defaults_hold(self) -> None:
        body = {
            "max_tokens": 1,
            "system": "s" * 40_001,
            "messages": [
                user("u" * 120_000),
                user("u" * 120_001),
                {"role": "tool", "content": "t" * 20_000},
                {"role": "tool", "content": "t" * 20_001},
                {"role": "assistant", "content": "a" * 200_000},
            ],
        }
        value = (await through(body)).value
        assert 39_900 < len(value["system"]) <= 40_000
        assert value["messages"][0] == body["messages"][0]  # type: ignore[index]
        assert 119_900 < len(value["messages"][1]["content"][0]["text"]) <= 120_000
        assert value["messages"][2] == body["messages"][2]  # type: ignore[index]
        assert 19_900 < len(value["messages"][3]["content"]) <= 20_000
        assert value["messages"][4] == body["messages"][4]  # type: ignore[index]

    async def test_what_a_layer_above_has_added_is_clipped_too(self) -> None:
        below = Below()

        async def adding(scope: Any, receive: Any, send: Any) -> None:
            scope, receive, body = await read_body(scope, receive)
            scope = body.replace(scope, {**body.json(), "messages": [user(LONG)]})
            await LimitsMiddleware(below, user_msg_max_chars=300)(scope, receive, send)

        await call(adding, body=b'{"max_tokens":1}')
        assert len(below.value["messages"][0]["content"][0]["text"]) <= 300

    async def test_an_application_that_knows_nothing_of_the_body_reads_the_rewritten_one(self) -> None:
        below = await through(
            {"max_tokens": 1, "messages": [user(LONG)]}, user_msg_max_chars=300, aware=False
        )
        assert len(below.value["messages"][0]["content"][0]["text"]) <= 300
        assert b"content-length" not in below.headers
        assert below.headers[b"transfer-encoding"] == b"chunked"


class TestDefaultMaxTokens:
    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
    @pytest.mark.parametrize("given_value", [0, 1, "ten"])
    async def test_the_callers_own_limit_stands(self, name: str, given_value: object) -> None:
        below = await through({"messages": [user("hi")], name: given_value})
        assert below.value == {"messages": [user("hi")], name: given_value}
        assert DEFAULTED not in below.state

    @pytest.mark.parametrize(
        ("path", "body", "name"),
        [
            ("/v1/chat/completions", {"messages": []}, "max_tokens"),
            ("/v1/chat/completions", {"messages": [], "max_tokens": None}, "max_tokens"),
            ("/v1/messages", {"messages": []}, "max_tokens"),
            ("/v1/responses", {"input": "hi"}, "max_output_tokens"),
        ],
    )
    async def test_a_missing_limit_is_set_under_the_dialects_name_and_recorded(
        self, path: str, body: dict[str, Any], name: str
    ) -> None:
        below = await through(body, path=path)
        assert below.value == {**body, name: 1200}
        assert below.state[DEFAULTED] == {name}
        assert SAVINGS not in below.state

    async def test_the_default_may_be_switched_off(self) -> None:
        assert not (await through({"messages": []}, default_max_tokens=0)).replaced


class TestWhatItActsOn:
    @pytest.mark.parametrize(
        "raw", [b"", b"{", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"[" * 300 + b"]" * 300]
    )
    async def test_a_body_that_is_not_strict_json_is_refused(self, raw: bytes) -> None:
        answer = await call(LimitsMiddleware(Below()), body=raw)
        assert answer.status == 400
        assert answer.json()["error"]["code"] == "invalid_json"
        assert answer.json()["error"]["type"] == "invalid_request_error"

    @pytest.mark.parametrize("value", [[], 1, None, {}, {"prompt": LONG}, {"messages": "x"}])
    async def test_json_that_is_no_chat_is_the_applications_business(self, value: Any) -> None:
        below = await through(value, user_msg_max_chars=300)
        assert below.raw == orjson.dumps(value)

    @pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/messages/batches", "/", "/v1/messages/x"])
    async def test_other_paths_pass_unread(self, path: str) -> None:
        below = Below(aware=False)
        answer = await call(LimitsMiddleware(below), path=path, body=b'{"input": "hi"}')
        assert answer.status == 200
        assert below.raw == b'{"input": "hi"}'
        assert below.state == {}

    async def test_other_methods_pass_unread(self) -> None:
        seen: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(receive)
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})

        await call(LimitsMiddleware(app), method="GET")
        client = Client()
        await LimitsMiddleware(app)({"type": "lifespan"}, client.receive, client.send)
        assert client.received == 0
        assert len(seen) == 2

    @pytest.mark.parametrize(
        "path", ["/V1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/"]
    )
    async def test_a_spelling_that_a_router_accepts_is_no_way_around(self, path: str) -> None:
        assert (await through({"messages": []}, path=path)).value["max_tokens"] == 1200

    async def test_paths_are_an_option(self) -> None:
        below = await through({"messages": []}, path="/mine", paths=("/mine",))
        assert below.value["max_tokens"] == 1200

    async def test_a_client_that_leaves_within_its_body_is_not_answered(self) -> None:
        client = Client([{"type": "http.request", "body": b"{", "more_body": True}])
        client.hang_up()
        scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}
        await LimitsMiddleware(Below())(scope, client.receive, client.send)
        assert answer_of(client.sent).status == 0


COUNTS = [
    ("/v1/messages/count_tokens", "/v1/messages", {"messages": [{"role": "user", "content": LONG}]}),
    ("/messages/count_tokens", "/messages", {"messages": [{"role": "user", "content": LONG}]}),
    ("/v1/responses/input_tokens", "/v1/responses", {"input": LONG}),
]


@pytest.mark.parametrize(("count", "send", "value"), COUNTS)
async def test_what_is_counted_is_clipped_as_what_is_sent_and_is_given_no_bound(
    count: str, send: str, value: dict[str, Any]
) -> None:
    counted = await through(value, path=count, user_msg_max_chars=300)
    sent = await through({**value, "max_tokens": 5}, path=send, user_msg_max_chars=300)
    assert {**counted.value, "max_tokens": 5} == sent.value
    assert len(orjson.dumps(counted.value)) < 600
    short = await through({"messages": [{"role": "user", "content": "hi"}]}, path=count)
    assert not short.replaced
    assert DEFAULTED not in short.state
