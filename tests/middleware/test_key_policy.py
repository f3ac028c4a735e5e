"""A key reaches what its policy allows, by no alias and no other spelling anything else."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware._body import read_body
from middleware._state import PRINCIPAL, Policy, Principal
from middleware.key_policy import KeyPolicyMiddleware, as_written, rules_of

from .asgi import Answer, Client, body_messages, call, make_scope

pytestmark = pytest.mark.anyio

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
PATHS = [CHAT, MESSAGES, RESPONSES, "/v1/completions", "/v1/embeddings", "/chat", "/messages"]
COUNTS = ["/v1/messages/count_tokens", "/v1/responses/input_tokens"]
USER = {"role": "user", "content": "Hi"}

ALIASES = {"sonnet": "claude-sonnet-5-5", "opus": "claude-opus-5", "haiku": "claude-haiku-5-5"}
RETIRED = {"claude-sonnet-4-0": "claude-sonnet-5-5"}


def gateways(model: object, provider: object) -> str | None:
    """Names as a gateway reads them: aliases, other spellings, retired models, prefixes of providers."""
    if provider in ("local", "groq"):
        model = f"{provider}:{model}" if model else f"{provider}:default"
    if not isinstance(model, str) or not model:
        return None
    name = ALIASES.get(model, model).removeprefix("anthropic/").removeprefix("anthropic.")
    if name.startswith("claude-"):
        return RETIRED.get(name, name)
    return name if name.partition(":")[0] in ("local", "groq") else None


class Below:
    """The application: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.raw: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, _, body = await read_body(scope, receive)
        self.asked.append(body.json())
        self.raw.append(body.bytes())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})


async def ask(
    policy: Policy | None, value: Any, path: str = CHAT, **options: Any
) -> tuple[Answer, dict[str, Any] | None]:
    below = Below()
    app = KeyPolicyMiddleware(below, **{"canonical": gateways, **options})
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    state = {PRINCIPAL: Principal("acme", "k", (), policy)}
    answer = await call(app, path=path, body=raw, state=state)
    return answer, below.asked[0] if below.asked else None


# ---- models

HAIKU = Policy(models=("claude-haiku-*", "local:*"))


@pytest.mark.parametrize("path", [*PATHS, *COUNTS])
@pytest.mark.parametrize(
    "body",
    [
        {"model": "opus"},
        {"model": "claude-opus-5"},
        {"model": "anthropic/claude-opus-5"},
        {"model": "anthropic.claude-opus-5"},
        {"model": "opus", "provider": "anthropic"},
        {"model": "sonnet"},
        {"model": "CLAUDE-HAIKU-5"},
        {"model": "xclaude-haiku-5"},
        {"model": "nonsense"},
        {"model": ""},
        {"model": None},
        {"model": ["claude-haiku-5-5"]},
        {"model": {"id": "claude-haiku-5-5"}},
        {},
        {"model": "haiku", "models": ["haiku", "opus"]},
        {"model": "haiku", "models": "opus"},
        {"model": "haiku", "fallbacks": [{"model": "haiku"}]},
        {"model": "haiku", "fallback_model": "opus"},
        {"model": "haiku", "tools": [{"type": "advisor_20260301", "name": "advisor", "model": "opus"}]},
    ],
)
async def test_nothing_else_is_reached_than_what_is_allowed(path: str, body: dict[str, Any]) -> None:
    answer, asked = await ask(HAIKU, {**body, "messages": [USER]}, path)
    assert (answer.status, asked) == (403, None)
    error = answer.json()["error"]
    assert "claude-haiku-*, local:*" in error["message"]
    if "messages" in path:
        assert error["type"] == "permission_error"
    else:
        assert (error["code"], error["param"]) == ("model_not_allowed", "model")
    assert answer.headers["x-should-retry"] == "false"


def without_local(model: object, provider: object) -> str | None:
    """A gateway whose local models have no upstream."""
    name = gateways(model, provider)
    return None if name is None or name.startswith("local:") else name


@pytest.mark.parametrize("body", [{"model": "local:qwen3"}, {"model": "qwen3", "provider": "local"}])
async def test_who_may_ask_for_a_model_that_nobody_serves_is_told_why_by_the_application(
    body: dict[str, Any],
) -> None:
    answer, asked = await ask(HAIKU, body, canonical=without_local)
    assert (answer.status, asked) == (200, body)


@pytest.mark.parametrize(
    "body",
    [
        {"model": "groq:qwen3"},
        {"model": "qwen3", "provider": "groq"},
        {"model": "qwen3"},
        {"model": None},
        # Others take these names instead of the first: what is unknown to us may be known to them.
        {"model": "haiku", "fallbacks": ["local:qwen3"]},
        {"model": "local:qwen3", "models": ["opus"]},
    ],
)
async def test_who_may_not_is_refused_whether_anybody_serves_it_or_not(body: dict[str, Any]) -> None:
    answer, asked = await ask(HAIKU, body, canonical=without_local)
    assert (answer.status, asked) == (403, None)


@pytest.mark.parametrize("path", [*PATHS, *COUNTS])
@pytest.mark.parametrize("model", ["haiku", "claude-haiku-4-5", "anthropic/claude-haiku-5-5", "local:qwen3"])
async def test_what_is_allowed_passes_as_it_was_written(path: str, model: str) -> None:
    body = {"model": model, "messages": [USER], "models": ["haiku"]}
    answer, asked = await ask(HAIKU, body, path)
    assert (answer.status, asked) == (200, body)


@pytest.mark.parametrize(
    ("allowed", "model", "passes"),
    [
        ("sonnet", "claude-sonnet-5-5", True),
        ("sonnet", "sonnet", True),
        ("sonnet", "claude-sonnet-4-0", True),  # retired: answered by what is allowed
        ("claude-sonnet-4-0", "sonnet", True),
        ("anthropic/claude-opus-5", "opus", True),
        ("sonnet", "claude-sonnet-5-5-x", False),
        ("claude-sonnet-*", "claude-sonnet-4-0", True),
        ("son*", "sonnet", False),  # a star is compared with full names
        ("groq:llama*", "groq:llama-70b", True),
        ("groq:llama*", "groq:qwen", False),
        ("unknown-here", "unknown-here", True),  # and the application says that there is none
    ],
)
async def test_names_in_a_policy_are_read_as_names_in_requests_are(
    allowed: str, model: str, passes: bool
) -> None:
    answer, _ = await ask(Policy(models=(allowed,)), {"model": model, "messages": [USER]})
    assert answer.status == (200 if passes else 403)


@pytest.mark.parametrize(
    ("path", "provider", "passes"),
    [
        (CHAT, "local", True),
        ("/v1/embeddings", "local", True),
        ("/chat", "local", True),
        (MESSAGES, "local", False),  # handlers of these dialects do not read it: Claude would answer
        (RESPONSES, "local", False),
        (CHAT, {"order": ["x"]}, False),
        (CHAT, "anthropic", False),
    ],
)
async def test_a_provider_counts_where_it_is_read(path: str, provider: object, passes: bool) -> None:
    body = {"model": "opus", "provider": provider, "messages": [USER]}
    answer, _ = await ask(Policy(models=("local:*",)), body, path)
    assert answer.status == (200 if passes else 403)


async def test_a_request_without_a_model_has_the_default() -> None:
    policy = Policy(models=("haiku",), default_model="haiku")
    for body in ({"messages": [USER]}, {"model": None, "messages": [USER]}):
        answer, asked = await ask(policy, body)
        assert answer.status == 200
        assert asked == {"model": "haiku", "messages": [USER]}
    assert (await ask(policy, {"model": "auto", "messages": [USER]}))[0].status == 403
    _, asked = await ask(Policy(default_model="haiku"), {"provider": "local", "messages": [USER]})
    assert asked == {"provider": "local", "messages": [USER]}
    answer, _ = await ask(Policy(models=("haiku",), default_model="opus"), {"messages": [USER]})
    assert answer.status == 403


async def test_without_names_of_its_own_the_model_is_compared_as_written() -> None:
    policy = Policy(models=("m", "p:n"))
    options: dict[str, Any] = {"canonical": as_written}
    assert (await ask(policy, {"model": "m", "messages": []}, **options))[0].status == 200
    assert (await ask(policy, {"model": "n", "provider": "p", "messages": []}, **options))[0].status == 200
    assert (await ask(policy, {"model": "n", "messages": []}, **options))[0].status == 403
    assert (await ask(policy, {"messages": []}, **options))[0].status == 403


def test_a_list_of_models_can_be_shown_to_the_key() -> None:
    allows = rules_of(HAIKU, gateways).allows
    assert allows is not None
    assert [name for name in ("claude-haiku-5-5", "claude-opus-5", "local:x") if allows(name)] == [
        "claude-haiku-5-5",
        "local:x",
    ]
    assert rules_of(Policy(), gateways).allows is None


# ---- one meaning


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"opus","model":"haiku","messages":[]}',
        b'{"model":"haiku","model":"opus","messages":[]}',
        b'{"mod\\u0065l":"opus","messages":[],"model":"haiku"}',
        b'{"model":"haiku","tools":[],"messages":[],"tools":[]}',
        b' { "model" : "haiku" , "max_tokens" : 9 , "max_tokens" : 9000 } ',
    ],
)
async def test_a_key_that_stands_twice_is_refused(path: str, raw: bytes) -> None:
    answer, asked = await ask(HAIKU, raw, path)
    assert (answer.status, asked) == (400, None)
    assert "twice" in answer.json()["error"]["message"]
    without, _ = await ask(None, raw, path)
    assert without.status == 200, "nobody else pays for the look"


async def test_a_tool_that_names_itself_twice_goes_on_under_the_name_that_was_judged() -> None:
    below = Below()
    app = KeyPolicyMiddleware(below)
    raw = b'{"model":"m","tools":[{"name":"Bash","name":"read"}],"messages":[]}'
    state = {PRINCIPAL: Principal("acme", "k", (), Policy(blocked_tools=("Bash",)))}
    assert (await call(app, path=MESSAGES, body=raw, state=state)).status == 200
    assert b"Bash" not in below.raw[0]


@given(
    st.dictionaries(
        st.sampled_from(
            ["model", "provider", "models", "messages", "input", "message", "tools", "max_tokens"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["opus", "haiku", "local", "x"]),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(
                    st.sampled_from(["name", "type", "model", "role", "content"]), inner, max_size=2
                )
            ),
            max_leaves=6,
        ),
    ),
    st.sampled_from(PATHS),
)
def test_whatever_is_asked_only_allowed_models_are_reached(body: dict[str, Any], path: str) -> None:
    policy = Policy(
        models=("haiku",), default_model="haiku", max_tokens=3, system_prefix="P", blocked_tools=("x",)
    )
    answer, asked = asyncio.run(ask(policy, body, path))
    assert answer.status in (200, 400, 403)
    if answer.status == 200:
        assert asked is not None
        provider = asked.get("provider") if path not in (MESSAGES, RESPONSES, "/messages") else None
        assert gateways(asked["model"], provider) == "claude-haiku-5-5"
        assert asked.get("max_tokens") in (None, 0, 1, 2, 3)


# ---- the bound of the answer

CAPPED = Policy(max_tokens=100)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (CHAT, {"messages": []}, {"max_tokens": 100}),
        (CHAT, {"messages": [], "max_completion_tokens": 900}, {"max_completion_tokens": 100}),
        (CHAT, {"messages": [], "max_output_tokens": 90}, {"max_output_tokens": 90, "max_tokens": 90}),
        (CHAT, {"input": "Hi"}, {"max_output_tokens": 100}),
        (MESSAGES, {"messages": [], "max_tokens": 900}, {"max_tokens": 100}),
        (
            MESSAGES,
            {"messages": [], "max_completion_tokens": 90},
            {"max_tokens": 90, "max_completion_tokens": 90},
        ),
        (RESPONSES, {"input": "Hi"}, {"max_output_tokens": 100}),
        (RESPONSES, {"input": "Hi", "messages": []}, {"max_output_tokens": 100}),
        (RESPONSES, {"input": "Hi", "max_tokens": 7}, {"max_tokens": 7, "max_output_tokens": 7}),
        ("/v1/completions", {"prompt": "x"}, {"max_tokens": 100}),
        ("/chat", {"message": "Hi"}, {"max_tokens": 100}),
        ("/chat", {"message": "Hi", "input": "x"}, {"max_tokens": 100}),
        ("/v1/embeddings", {"input": "Hi"}, {}),
        (COUNTS[0], {"messages": []}, {}),
        (COUNTS[1], {"input": "Hi"}, {}),
    ],
)
async def test_answers_are_bounded_in_the_words_that_the_path_reads(
    path: str, body: dict[str, Any], expected: dict[str, int]
) -> None:
    answer, asked = await ask(CAPPED, body, path)
    assert answer.status == 200
    assert asked == {**body, **expected}


async def test_a_bound_that_bounds_nothing_is_refused_by_its_name() -> None:
    answer, _ = await ask(CAPPED, {"messages": [], "max_tokens": -1})
    assert (answer.status, answer.json()["error"]["param"]) == (400, "max_tokens")


# ---- the prefix

PREFIXED = Policy(system_prefix="P")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (CHAT, {"messages": [USER]}, {"messages": [{"role": "system", "content": "P"}, USER]}),
        (CHAT, {"messages": [USER], "system": "S"}, {"system": "P\n\nS"}),
        (CHAT, {"messages": [USER], "instructions": "S"}, {"system": "P"}),
        (CHAT, {"input": "Hi"}, {"instructions": "P"}),
        (MESSAGES, {"messages": [USER]}, {"system": "P"}),
        (MESSAGES, {"messages": [USER], "input": "x", "system": "S"}, {"system": "P\n\nS"}),
        (COUNTS[0], {"messages": [USER]}, {"system": "P"}),
        (RESPONSES, {"input": "Hi", "instructions": "S"}, {"instructions": "P\n\nS"}),
        (RESPONSES, {"input": "Hi", "messages": [USER]}, {"instructions": "P"}),
        (COUNTS[1], {"input": "Hi"}, {"instructions": "P"}),
        ("/v1/completions", {"prompt": "x"}, {"prompt": "P\n\nx"}),
        ("/v1/completions", {"prompt": "x", "messages": [USER]}, {"prompt": "P\n\nx"}),
        ("/chat", {"message": "Hi"}, {"system": "P"}),
        ("/chat", {"message": "Hi", "input": "x", "system": "S"}, {"system": "P\n\nS"}),
        ("/v1/embeddings", {"input": "Hi"}, {}),
        (CHAT, {"model": "m"}, {}),
    ],
)
async def test_the_prefix_stands_where_the_path_reads_it_first(
    path: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    answer, asked = await ask(PREFIXED, body, path)
    assert answer.status == 200
    assert asked == {**body, **expected}


async def test_a_conversation_that_grows_keeps_its_beginning_to_the_byte() -> None:
    below = Below()
    app = KeyPolicyMiddleware(below, canonical=gateways)
    state = {PRINCIPAL: Principal("acme", "k", (), PREFIXED)}
    turns = [{"role": "system", "content": "S"}, USER]
    for _ in range(3):
        await call(app, body=orjson.dumps({"messages": turns}), state=state)
        turns = [*turns, {"role": "assistant", "content": "Hello"}, USER]
    first, second, third = below.raw
    assert second.startswith(first[:-2])
    assert third.startswith(second[:-2])


# ---- tools


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, COUNTS[0]])
@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(blocked_tools=("Bash", "web_search")), "Not allowed: Bash, web_search."),
        (Policy(allowed_tools=("read", "edit*")), "Allowed: read, edit*."),
    ],
)
async def test_a_tool_that_is_not_allowed_is_refused_and_the_rule_is_said(
    path: str, policy: Policy, said: str
) -> None:
    for tool in ({"name": "Bash"}, {"type": "web_search_20250305", "name": "web_search"}):
        answer, asked = await ask(policy, {"messages": [], "tools": [{"name": "read"}, tool]}, path)
        assert (answer.status, asked) == (403, None)
        assert said in answer.json()["error"]["message"]
        if path in (CHAT, RESPONSES):
            assert answer.json()["error"]["code"] == "tool_not_allowed"
    answer, asked = await ask(policy, {"messages": [], "tools": [{"name": "read"}]}, path)
    assert answer.status == 200
    assert asked == {"messages": [], "tools": [{"name": "read"}]}


async def test_tools_that_are_none_are_refused_by_their_place() -> None:
    answer, _ = await ask(Policy(blocked_tools=("x",)), {"messages": [], "tools": "all"})
    assert (answer.status, answer.json()["error"]["param"]) == (400, "tools")


# ---- what it costs others


@pytest.mark.parametrize(
    ("policy", "path", "method"),
    [
        (None, CHAT, "POST"),
        (HAIKU, "/v1/models", "POST"),
        (HAIKU, CHAT, "GET"),
        (HAIKU, "/admin/usage", "POST"),
    ],
)
async def test_what_has_no_policy_passes_unread(policy: Policy | None, path: str, method: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(((await receive())["body"], "gateway.body" in scope["state"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    state = {PRINCIPAL: Principal("acme", "k", (), policy)}
    await call(KeyPolicyMiddleware(app), method=method, path=path, body=b"not JSON", state=state)
    assert seen == [(b"not JSON", False)]


@pytest.mark.parametrize("path", ["/V1/Messages", "/v1//messages", "/v1/messages/", "/v1/./messages"])
async def test_a_spelling_that_a_router_accepts_is_no_way_around(path: str) -> None:
    assert (await ask(HAIKU, {"model": "opus", "messages": []}, path))[0].status == 403


async def test_a_request_in_which_nothing_changes_stays_the_bytes_that_were_sent() -> None:
    below = Below()
    app = KeyPolicyMiddleware(below, canonical=gateways)
    raw = b'{ "model": "haiku", "max_tokens": 5, "messages": [] }'
    state = {PRINCIPAL: Principal("acme", "k", (), Policy(models=("haiku",), max_tokens=9))}
    await call(app, path=MESSAGES, body=raw, state=state)
    assert below.raw == [raw]


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":NaN}'])
async def test_a_body_that_is_not_json_is_refused(raw: bytes) -> None:
    answer, _ = await ask(HAIKU, raw)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_json")


async def test_json_that_is_no_object_is_the_applications_to_refuse() -> None:
    below = Below()
    state = {PRINCIPAL: Principal("acme", "k", (), HAIKU)}
    await call(KeyPolicyMiddleware(below), body=b"[]", state=state)
    assert below.raw == [b"[]"]


async def test_a_client_that_leaves_within_its_body_is_not_answered() -> None:
    client = Client(body_messages([b"{", b""])[:1])
    client.hang_up()
    scope = make_scope(state={PRINCIPAL: Principal("acme", "k", (), HAIKU)})
    await KeyPolicyMiddleware(Below())(scope, client.receive, client.send)
    assert client.sent == []


async def test_outside_of_http_and_without_a_principal_nothing_is_done() -> None:
    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["type"])

    client = Client()
    await KeyPolicyMiddleware(app)({"type": "lifespan"}, client.receive, client.send)
    await KeyPolicyMiddleware(app)(make_scope(state={}), client.receive, client.send)
    assert passed == ["lifespan", "http"]
