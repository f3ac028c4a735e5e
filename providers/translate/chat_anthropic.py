"""A chat-completions request → an Anthropic Messages request.

A pure function of its arguments: no clock, no store, the same bytes for the same request, and a longer
conversation keeps the bytes of its beginning (prompt caches and thinking blocks are bound to them).
What the model would refuse is left out and named in ``dropped``. The choices made on the way are in
``docs/decisions/003-translation.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..types import ModelInfo
from . import _check, cache_control, params, tools
from ._check import Block
from .messages import Conversation, Turn
from .names import ToolNames

#: The API version that the requests are written for (header ``anthropic-version``). It refuses
#: ``temperature``, ``top_p`` and ``top_k`` on every model.
API_VERSION = "2026-10-21"

#: Parameters that have an effect here; everything else that is given is left out and named.
_USED = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "n",
        "stop",
        "user",
        "safety_identifier",
        "reasoning_effort",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "service_tier",
    }
)


@dataclass(slots=True, frozen=True)
class Options:
    """``user_key`` keys the pseudonyms of users; ``default_max_tokens`` is used when the request has
    no limit at all (``DEFAULT_MAX_TOKENS`` of the ``limits`` middleware comes before it)."""

    user_key: bytes = b""
    default_max_tokens: int = 1_200


@dataclass(slots=True, frozen=True)
class ReplyShape:
    """What the translation of the answer must know of the request.

    ``tool_names`` maps upstream tool names back to the caller's, where they differ. ``custom_tools``
    (upstream names) are unwrapped to free text. ``legacy_functions`` answers with ``function_call``.
    """

    tool_names: Mapping[str, str] = field(default_factory=dict)
    custom_tools: frozenset[str] = frozenset()
    legacy_functions: bool = False
    include_usage: bool = False
    json_object: bool = False


_PLAIN_REPLY = ReplyShape()


class AnthropicRequest(NamedTuple):
    """``body`` is the Messages request (always streaming), ``dropped`` names what was left out."""

    body: dict[str, Any]
    dropped: tuple[str, ...]
    reply: ReplyShape

    def encode(self) -> bytes:
        """The body as JSON. Raises ``BadRequest`` for values that JSON cannot carry."""
        return _check.as_json(self.body)


class History(Protocol):
    """What is known of a conversation beyond what its caller replays: see ``providers.thinking``."""

    def restore(self, tools: list[Block], system: list[Block], messages: list[Turn]) -> None:
        """Put thinking back into the assistant turns of ``messages``, or take it out of them. The list goes
        on growing at its end; what stands in it by now is final, markers of the cache aside."""
        ...


def to_anthropic(
    body: Mapping[str, Any],
    *,
    model: str,
    info: ModelInfo,
    max_tokens_defaulted: bool = False,
    options: Options = Options(),
    history: History | None = None,
) -> AnthropicRequest:
    """The request that asks ``model``, which behaves as ``info`` says, what ``body`` asks.

    Raises ``BadRequest`` with ``param`` naming the place for everything that is wrong with ``body``.
    """
    can = info.capabilities
    params.check_single(body)
    include_usage = params.include_usage(body)
    names = ToolNames()
    given = tools.read_tools(body, names, strict=can.structured_outputs)
    choice = tools.read_choice(body, given, names, may_force=can.forced_tool_choice)
    shape = params.read_format(body, enforced=can.structured_outputs)
    talk = Conversation(names, system_turns=can.system_turns, custom_tools=given.custom)
    messages = _check.array(body.get("messages"), "messages")
    if not messages:
        raise _check.invalid("messages", "`messages` is empty.")
    for index, message in enumerate(messages):
        if not talk.add_text(message):
            talk.add(message, f"messages.{index}")

    listed = [t for n, t in given.by_name.items() if choice.only is None or n in choice.only]
    choice_wire = choice.wire
    if not listed and talk.called:
        listed, choice_wire = tools.history_tools(talk.called, names), {"type": "none"}
    # Behind the caller's own text, so that its prefix stays what it is.
    talk.system += [_text(extra) for extra in (shape.instruction, choice.instruction) if extra]
    if history is not None:
        history.restore(listed, talk.system, talk.messages)

    forced = choice.wire is not None and choice.wire["type"] in ("any", "tool")
    unthought = talk.answers_tools and not talk.loop_begins_with_thinking
    thinking = params.read_thinking(body, can, no_budget=forced or unthought)
    max_tokens = params.read_max_tokens(
        body,
        thinking,
        defaulted=max_tokens_defaulted,
        default=options.default_max_tokens,
        cap=info.max_output_tokens,
        has_tools=bool(given.by_name),
    )
    budgeted = thinking.config is not None and thinking.config["type"] == "enabled"
    talk.finish(prefill=can.prefill and not budgeted)

    out: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "stream": True}
    if listed:
        out["tools"] = listed
        if choice_wire is not None:
            out["tool_choice"] = choice_wire
    if talk.system:
        out["system"] = talk.system
    out["messages"] = talk.messages
    if thinking.config is not None:
        out["thinking"] = thinking.config
    if output := _output_config(thinking, shape):
        out["output_config"] = output
    stop, stop_dropped = params.read_stop(body)
    if stop:
        out["stop_sequences"] = stop
    if user := params.read_user(body, options.user_key):
        out["metadata"] = {"user_id": user}
    tier_dropped = _service_tier(body, out)
    lost = {
        "tool_choice": choice.instruction is not None,
        "function_call": choice.instruction is not None and body.get("tool_choice") is None,
        "response_format": not shape.honoured,
        "reasoning_effort": not thinking.honoured,
        "stop": stop_dropped,
        "service_tier": tier_dropped,
        "cache_control": cache_control.limit(listed, talk.system, talk.messages),
    }
    reply = _PLAIN_REPLY
    if include_usage or shape.json_object or given.by_name or names.original:
        reply = ReplyShape(
            tool_names=names.original,
            custom_tools=frozenset(map(names.wire, given.custom)),
            legacy_functions=given.legacy,
            include_usage=include_usage,
            json_object=shape.json_object,
        )
    return AnthropicRequest(out, _dropped(body, lost), reply)


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _output_config(thinking: params.Thinking, shape: params.Format) -> Block:
    config: Block = {}
    if thinking.effort is not None:
        config["effort"] = thinking.effort
    if shape.wire is not None:
        config["format"] = shape.wire
    return config


def _service_tier(body: Mapping[str, Any], out: dict[str, Any]) -> bool:
    """``auto`` is the upstream's own default, ``default`` its ``standard_only``; True if neither."""
    tier = body.get("service_tier")
    if tier == "default":
        out["service_tier"] = "standard_only"
    return tier not in (None, "auto", "default")


def _dropped(body: Mapping[str, Any], lost: Mapping[str, bool]) -> tuple[str, ...]:
    named = params.dropped(body, _USED, lost)
    return tuple(dict.fromkeys((*named, "cache_control"))) if lost["cache_control"] else named
