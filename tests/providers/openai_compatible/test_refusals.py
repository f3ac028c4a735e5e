"""What each kind of server says when it refuses, word for word as its users report it, and what is learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from providers.errors import BadRequest, ContextTooLong, UpstreamFailed
from providers.openai_compatible.capacity import LEAST_ROOM
from providers.openai_compatible.efforts import LEVELS, nearest
from providers.openai_compatible.manner import Manner
from providers.openai_compatible.refusals import after_refusal
from providers.translate.message_writer import MessageWriter
from providers.types import ChatCall
from tests.providers.anthropic.sources import Client

from .streams import GOLDEN, event
from .test_adapter import BODY, COMPLETION, call, provider, read, refusal, sent, streamed, whole

pytestmark = pytest.mark.anyio

PARTS = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
SYSTEM = {"role": "system", "content": "s"}
USER = {"role": "user", "content": "u"}


def agent(**fields: Any) -> ChatCall:
    body = {**BODY, **fields}
    return ChatCall(body, "m", "x:m", writer=MessageWriter)


def refused(said: str, status: int = 400, **fields: Any) -> BadRequest:
    return BadRequest(said, upstream_status=status, **fields)


# -- how much a model writes -----------------------------------------------------------------------------

CAPS = {
    "OpenAI": (
        "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you "
        "provided 32000.",
        16_384,
    ),
    "Groq": (
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less "
        "than the "
        "`context_window` for this model",
        8_192,
    ),
    "Groq's first way": (
        "max_tokens for `llama-3.1-8b-instant` must be less than or equal to 8000",
        8_000,
    ),
    "DeepSeek": ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8_192),
    "DashScope": (
        "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]",
        8_192,
    ),
    "Gemini": (
        "Unable to submit request because it has a maxOutputTokens value of 32000 but the supported range "
        "is from "
        "1 (inclusive) to 8193 (exclusive). Update the value and try again.",
        8_192,
    ),
    "Bedrock": (
        "The maximum tokens you requested exceeds the model limit of 10000. Try again with a maximum "
        "tokens value "
        "that is lower than 10000.",
        10_000,
    ),
    "Claude": (
        "max_tokens: 32000 > 4096, which is the maximum allowed number of output tokens for claude-3",
        4_096,
    ),
    "Zhipu": ("max_tokens 参数非法。请检查文档。", 16_000),
}


@pytest.mark.parametrize("server", CAPS)
@pytest.mark.parametrize("asked", [agent, call], ids=["Messages", "chat"])
async def test_the_most_that_a_model_writes_is_learnt(server: str, asked: Callable[..., ChatCall]) -> None:
    said, most = CAPS[server]
    assert after_refusal(asked(max_tokens=32_000), Manner(), refused(said)) == Manner(most=most)


ROOMS = {
    "OpenAI": (
        "This model's maximum context length is 40960 tokens. However, you requested 42000 tokens (10000 "
        "in the "
        "messages, 32000 in the completion). Please reduce the length of the messages or completion.",
        30_960,
    ),
    "vLLM": (
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length "
        "is 40960 "
        "tokens and your request has 10000 input tokens (32000 > 40960 - 10000).",
        30_960,
    ),
    "vLLM of 2026": (
        "This model's maximum context length is 40960 tokens. However, you requested 32000 output tokens "
        "and your "
        "prompt contains at least 8961 input tokens, for a total of at least 40961 tokens.",
        16_000,
    ),
    "SGLang": (
        "Requested token count exceeds the model's maximum context length of 40960 tokens. You requested a "
        "total "
        "of 42000 tokens: 10000 tokens from the input messages and 32000 tokens for the completion.",
        30_960,
    ),
    "OpenRouter": (
        "This endpoint's maximum context length is 40960 tokens. However, you requested about 42000 tokens "
        "(6252 "
        "of text input, 3748 of tool input, 32000 in the output). Please reduce the length of either one",
        30_960,
    ),
    "a prompt that is too long": (
        "This model's maximum context length is 40960 tokens and your request has 41000 input tokens",
        None,
    ),
    "a prompt that leaves nothing": (
        f"This model's maximum context length is 40960 tokens and your request has {40_961 - LEAST_ROOM} "
        f"input "
        "tokens",
        None,
    ),
    "no sum": (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 204308 "
        "tokens.",
        None,
    ),
}


@pytest.mark.parametrize("server", ROOMS)
async def test_the_room_that_a_conversation_leaves_is_used_and_not_remembered(server: str) -> None:
    said, room = ROOMS[server]
    expected = None if room is None else Manner(window=40_960, room=room)
    assert (
        after_refusal(agent(max_tokens=32_000), Manner(), ContextTooLong(said, upstream_status=400))
        == expected
    )


CROWDED = (
    "This model's maximum context length is 40960 tokens and your request has 37000 input tokens (8192 > "
    "40960 "
    "- 37000)."
)


async def test_a_lowered_limit_is_named_and_kept_for_the_model_and_room_is_not() -> None:
    answers = (streamed(GOLDEN["text"]) for _ in range(4))
    client = Client(refusal(CAPS["DeepSeek"][0]), next(answers), refusal(CROWDED), *answers)
    upstream = provider(client)
    for limit in (8_192, 3_960, 8_192):
        reply = await upstream.chat(agent(max_tokens=32_000))
        assert (sent(client)["max_tokens"], reply.dropped) == (limit, ("max_tokens",))
    assert (await upstream.chat(agent(max_tokens=8_192))).dropped == ()


def turn(words: int) -> Any:
    """An agent's request, in a conversation that is longer by so many words."""
    said = {"role": "user", "content": "word " * words}
    return agent(max_tokens=32_000, messages=[said])


def counted(tokens: int) -> Any:
    return streamed(
        event({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}),
        event({"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": 1}}),
        b"data: [DONE]\n\n",
    )


async def test_a_window_that_is_nearly_full_costs_one_refusal_and_not_one_in_each_turn() -> None:
    crowded = CROWDED.replace("37000", "30000")
    client = Client(refusal(crowded), *(counted(30_000 + 400 * more) for more in range(4)))
    upstream = provider(client)
    await read(await upstream.chat(turn(30_000)))
    for more in (1, 2, 3):
        reply = await upstream.chat(turn(30_000 + 400 * more))
        await read(reply)
        left = 40_960 - 30_000 - 400 * more
        assert left - 1_500 < sent(client)["max_tokens"] <= left
        assert reply.dropped == ("max_tokens",)
    assert len(client.asked) == 5


async def test_a_window_that_a_caller_speaks_of_is_not_remembered() -> None:
    said = "This model's maximum context length is 2000 tokens and your request has 100 input tokens"
    error = ContextTooLong(f"Bad request: {'x' * 120} {said}", upstream_status=400)
    assert after_refusal(agent(max_tokens=32_000), Manner(), error) == Manner(room=1_900)


async def test_an_estimate_refuses_nothing_and_shortens_no_answer_that_has_room() -> None:
    client = Client(refusal(CROWDED.replace("37000", "30000")), *(counted(30_000) for _ in range(3)))
    upstream = provider(client)
    await read(await upstream.chat(turn(30_000)))
    await read(await upstream.chat(turn(60_000)))  # it is for the upstream to say that this is too long
    assert sent(client)["max_tokens"] == 32_000
    reply = await upstream.chat(turn(10))
    assert (sent(client)["max_tokens"], reply.dropped) == (32_000, ())


# -- efforts ---------------------------------------------------------------------------------------------

EFFORTS = {
    "OpenAI": (
        "Unsupported value: 'reasoning_effort' does not support 'max' with this model. Supported values are: "
        "'minimal', 'low', 'medium', and 'high'.",
        {"minimal", "low", "medium", "high"},
    ),
    "Groq": ("`reasoning_effort` must be one of `low`, `medium`, or `high`", {"low", "medium", "high"}),
    "Groq's Qwen": ("reasoning_effort must be one of none or default", {"none"}),
    "DeepSeek": (
        "Failed to deserialize the JSON body into the target type: reasoning_effort: unknown variant `max`, "
        "expected one of `low`,`high` at line 1 column 9",
        {"low", "high"},
    ),
    "FastAPI": ("reasoning_effort: Input should be 'low', 'medium' or 'high'", {"low", "medium", "high"}),
    "nobody's list": ("The reasoning effort 'max' is not available.", set(LEVELS) - {"max"}),
}


@pytest.mark.parametrize("server", EFFORTS)
async def test_the_efforts_that_a_model_takes_are_read_from_its_refusal(server: str) -> None:
    said, taken = EFFORTS[server]
    manner = after_refusal(call(reasoning_effort="max"), Manner(), refused(said))
    assert manner == Manner(efforts=frozenset(taken))


@pytest.mark.parametrize(
    ("level", "taken", "expected"),
    [
        ("max", {"low", "medium", "high"}, "high"),
        ("xhigh", {"none", "low"}, "low"),
        ("medium", {"low", "high"}, "low"),
        ("none", {"minimal", "low"}, "minimal"),
        ("none", {"low", "high"}, "low"),
        ("minimal", {"none", "low"}, "low"),
        ("high", {"none"}, None),
        ("none", {"none"}, "none"),
        ("enormous", {"low"}, "enormous"),
    ],
)
def test_the_nearest_effort_never_turns_thinking_off(
    level: str, taken: set[str], expected: str | None
) -> None:
    assert nearest(level, frozenset(taken)) == expected


# -- messages --------------------------------------------------------------------------------------------

LATE = [SYSTEM, USER, {"role": "assistant", "content": "a"}, SYSTEM, USER]
MESSAGES: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    "DeepSeek's role": (
        "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant "
        "`developer`, "
        "expected one of `system`, `user`, `assistant`, `tool`, `latest_reminder` at line 1 column 85",
        [{"role": "developer", "content": "d"}, USER],
        {"developer": False},
    ),
    "Mistral's role": (
        "Input tag 'developer' found using 'role' does not match any of the expected tags: 'system', 'user', "
        "'assistant', 'tool'",
        [{"role": "developer", "content": "d"}, USER],
        {"developer": False},
    ),
    "Qwen's role": (
        "Unexpected message role.",
        [{"role": "developer", "content": "d"}],
        {"developer": False},
    ),
    "DeepSeek's content": (
        "Failed to deserialize the JSON body into the target type: messages[0]: invalid type: sequence, "
        "expected "
        "a string at line 1 column 13946",
        [{"role": "user", "content": PARTS}],
        {"strings": True},
    ),
    "FastAPI's content": (
        "messages.0.content: Input should be a valid string",
        [{"role": "user", "content": PARTS}],
        {"strings": True},
    ),
    "Groq's content": (
        "'messages.0' : for 'role:system' the following must be satisfied[('messages.0.content' : value "
        "must be a "
        "string)]",
        [{"role": "system", "content": PARTS}],
        {"strings": True},
    ),
    "vLLM's content": (
        'can only concatenate str (not "list") to str',
        [{"role": "user", "content": PARTS}],
        {"strings": True},
    ),
    "one-api's content": (
        "Internal server error: sequence item 0: expected str instance, list found",
        [{"role": "user", "content": PARTS}],
        {"strings": True},
    ),
    "LM Studio's content": (
        'Error rendering prompt with jinja template: "Unknown ArrayValue filter: trim".',
        [{"role": "user", "content": PARTS}],
        {"strings": True},
    ),
    "Gemma's order": (
        "Conversation roles must alternate user/assistant/user/assistant/...",
        [USER, USER],
        {"any_order": False},
    ),
    "Devstral's order": (
        "\n------------\nWhile executing CallExpression at line 189, column 32 in source:\n...== 0) %}↵    "
        "  {{- "
        "raise_exception('After the optional system message, con...\n     ^\nError: Jinja Exception: After "
        "the "
        "optional system message, conversation roles must alternate user and assistant roles except for tool "
        "calls and results.",
        [SYSTEM, USER, USER],
        {"any_order": False},
    ),
    "DeepSeek's order": (
        "deepseek-reasoner does not support successive user or assistant messages (messages[1] and "
        "messages[2] in "
        "your input). You should interleave the user/assistant messages in the message sequence.",
        [SYSTEM, USER, USER],
        {"any_order": False},
    ),
    "Mistral's order": (
        "Unexpected role 'user' after role 'tool'",
        [USER, {"role": "tool", "tool_call_id": "c", "content": "r"}, USER],
        {"any_order": False},
    ),
    "Qwen's system": ("System message must be at the beginning.", LATE, {"late_system": False}),
    "Mistral's system": ("Unexpected role 'system' after role 'assistant'", LATE, {"late_system": False}),
    "Ministral's system": (
        "Only user, assistant and tool roles are supported, got system",
        LATE,
        {"late_system": False},
    ),
    "Gemma's system": ("System role not supported", [SYSTEM, USER], {"system": False}),
    "a template that counts the system": (
        "Conversation roles must alternate user/assistant/user/assistant/...",
        [SYSTEM, USER],
        {"system": False},
    ),
}


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("server", MESSAGES)
async def test_messages_are_arranged_as_a_template_wants_them(server: str, status: int) -> None:
    said, messages, learnt = MESSAGES[server]
    error = (UpstreamFailed if status == 500 else BadRequest)(said, upstream_status=status)
    manner = after_refusal(call(messages=messages), Manner(), error)
    assert manner == Manner(**learnt)
    assert after_refusal(call(messages=[USER]), Manner(), error) is None  # it has nothing of the kind


# -- tools and streams -----------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
LONG_TOOL = {"type": "function", "function": {"name": "x" * 67}}
DOTTED = {"type": "function", "function": {"name": "a.b"}}
STRICT = {"type": "function", "function": {"name": "look", "strict": True}}
FORCED = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}}
FORMS: dict[str, tuple[BadRequest, dict[str, Any], dict[str, Any]]] = {
    "OpenAI's length": (
        refused(
            "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, "
            "but got "
            "a string with length 67 instead.",
            param="tools[0].function.name",
            code="string_above_max_length",
        ),
        {"tools": [LONG_TOOL]},
        {"short_names": True},
    ),
    "OpenAI's pattern": (
        refused(
            "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that "
            "matches the "
            "pattern '^[a-zA-Z0-9_-]+$'.",
            param="tools[0].function.name",
        ),
        {"tools": [DOTTED]},
        {"short_names": True},
    ),
    "Mistral's names": (
        refused(
            "Function name was a.b but must be a-z, A-Z, 0-9, or contain underscores and dashes, with a "
            "maximum "
            "length of 64."
        ),
        {"tools": [DOTTED]},
        {"short_names": True},
    ),
    "Meta's names": (
        refused("`name` must be at most 64 characters, got 67"),
        {"tools": [LONG_TOOL]},
        {"short_names": True},
    ),
    "LM Studio's choice": (
        refused("Invalid tool_choice type: 'object'. Supported string values: none, auto, required"),
        FORCED,
        {"named_choice": False},
    ),
    "a word that is not known": (
        refused("Unknown parameter: 'tools[0].function.strict'.", param="tools[0].function.strict"),
        {"tools": [STRICT]},
        {"strict": False},
    ),
    "Gemini's schemas": (
        refused(
            'Invalid JSON payload received. Unknown name "$schema" at '
            "'request.tools[0].function_declarations[0]."
            "parameters': Cannot find field.\nInvalid JSON payload received. Unknown name "
            '"exclusiveMinimum" at '
            "'tools[0].function_declarations[16].parameters.properties[2].value': Cannot find field."
        ),
        {"tools": [TOOL]},
        {"keywords": frozenset({"$schema", "exclusiveMinimum"})},
    ),
    "OpenAI's verification": (
        refused(
            "Your organization must be verified to stream this model. Please go to: "
            "https://platform.openai.com/settings/organization/general and click on Verify Organization.",
            param="stream",
            code="unsupported_value",
        ),
        {"stream": True},
        {"streams": "never"},
    ),
    "OpenAI's first reasoning models": (
        refused(
            "Unsupported value: 'stream' does not support true with this model. Only the default (false) "
            "value is "
            "supported.",
            param="stream",
            code="unsupported_value",
        ),
        {"stream": True},
        {"streams": "never"},
    ),
    "llama.cpp without streamed calls": (
        refused("Cannot use tools with stream"),
        {"stream": True, "tools": [TOOL]},
        {"streams": "without_tools"},
    ),
}


@pytest.mark.parametrize("server", FORMS)
async def test_tools_take_the_form_that_a_server_knows(server: str) -> None:
    error, body, learnt = FORMS[server]
    assert after_refusal(call(**body), Manner(), error) == Manner(**learnt)


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ("Tool choice 'function' not found in 'tools' parameter.", {**FORCED, "tools": []}),
        ('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', FORCED),
        ("Invalid 'tools[0].function.name': string too long.", {"tools": [TOOL]}),
        ("Invalid 'tools[0].function.name': string too long.", {"tools": [LONG_TOOL], "n": 2}),
        ("Your organization must be verified to stream this model.", {}),
        ("Invalid type for 'tools[0].function.name': expected a string, but got an object instead.", {}),
    ],
)
async def test_what_the_request_does_not_have_is_not_changed(said: str, body: dict[str, Any]) -> None:
    manner = after_refusal(call(**body), Manner(), refused(said))
    assert manner is None or manner == Manner(named_choice=False)


LOW: dict[str, Any] = {"prompt_cache_key": "low", "service_tier": "low", "verbosity": "low"}


async def test_fastapi_names_all_that_it_does_not_know_and_is_asked_once() -> None:
    wrong = [{"loc": ["body", name], "msg": "Extra inputs are not permitted"} for name in LOW]
    client = Client(whole({"detail": wrong}, 422), whole(COMPLETION))
    reply = await provider(client).chat(call(**LOW))
    assert reply.dropped == tuple(LOW)
    assert len(client.asked) == 2
