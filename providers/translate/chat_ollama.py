"""A chat-completions request → a request to Ollama's native ``/api/chat``.

Native, since Ollama's own ``/v1/chat/completions`` takes no ``num_ctx``, and a prompt that is longer than
the default context loses its oldest messages without a word. Here nothing is ever truncated:
``truncate: false`` and ``shift: false`` make Ollama refuse instead.

A pure function of its arguments: no clock, no store, the same bytes for the same request, and a longer
conversation keeps the bytes of its beginning (Ollama's prompt cache is bound to them). Fields:
https://docs.ollama.com/api/chat and ollama's ``api/types.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..types import ModelCapabilities, ModelInfo
from . import _check, params, tools
from ._check import Block
from .chat_anthropic import ReplyShape
from .ollama_messages import OllamaConversation
from .ollama_tools import PlainNames, ollama_tools

#: Sampling parameters under their names in ``options``, and whether they are whole numbers.
SAMPLING = {
    "temperature": False,
    "top_p": False,
    "top_k": True,
    "min_p": False,
    "seed": True,
    "presence_penalty": False,
    "frequency_penalty": False,
    "repeat_penalty": False,
}
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
        "reasoning_effort",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        *SAMPLING,
    }
)
_PLAIN_REPLY = ReplyShape()


class OllamaRequest(NamedTuple):
    """``body`` is the request without its ``options`` (always streaming), which follow when it is known
    how long a context the rest needs; ``dropped`` names what was left out.

    ``images`` and ``image_chars`` count the images in ``body`` and their base64, which has nothing to do
    with how many tokens they are.
    """

    body: dict[str, Any]
    options: dict[str, Any]
    dropped: tuple[str, ...]
    reply: ReplyShape
    images: int = 0
    image_chars: int = 0

    def encode(self) -> bytes:
        """``body`` as JSON. Raises ``BadRequest`` for values that JSON cannot carry."""
        return _check.as_json(self.body)

    def complete(self, encoded: bytes, num_ctx: int) -> bytes:
        """The whole request: what :meth:`encode` gave, with the options and the context's length."""
        return b'%b,"options":%b}' % (encoded[:-1], _check.as_json({**self.options, "num_ctx": num_ctx}))


def to_ollama(
    body: Mapping[str, Any],
    *,
    model: str,
    info: ModelInfo,
    max_tokens_defaulted: bool = False,
    default_max_tokens: int = 1_200,
) -> OllamaRequest:
    """The request that asks ``model``, which behaves as ``info`` says, what ``body`` asks.

    Tools for a model that has no template for them are refused, with the parameter named: an agent that
    is answered in prose where it waits for a call goes on asking until it gives up, and nobody learns
    why. A *history* with calls in it is told to such a model as text.

    Raises ``BadRequest`` with ``param`` naming the place for everything that is wrong with ``body``.
    """
    can = info.capabilities
    params.check_single(body)
    include_usage = params.include_usage(body)
    names = PlainNames()
    given = tools.read_tools(body, names, strict=False)
    choice = tools.read_choice(body, given, names, may_force=False)
    wanted = [
        tool
        for name, tool in given.by_name.items()
        if (choice.only is None or name in choice.only) and (choice.named is None or name == choice.named)
    ]
    if choice.wire is not None and choice.wire["type"] == "none":
        wanted = []
    if wanted and not can.tools:
        raise _check.invalid(
            "functions" if given.legacy else "tools",
            f"The model {model[:100]!r} cannot call tools: choose one that can, or leave them out.",
            "unsupported_value",
        )
    thinks = bool(can.thinking or can.effort)
    talk = OllamaConversation(vision=can.images, thinking=thinks, tools=can.tools, custom_tools=given.custom)
    messages = _check.array(body.get("messages"), "messages")
    if not messages:
        raise _check.invalid("messages", "`messages` is empty.")
    answered = _last_answer(messages)
    for index, message in enumerate(messages):
        talk.add(message, f"messages.{index}", past=index < answered)
    talk.finish()
    shape = _read_format(body, has_tools=bool(wanted))
    if extra := "\n\n".join(filter(None, (shape.instruction, choice.instruction))):
        talk.instruct(extra)

    think, thinking = _read_think(body, can)
    options = read_options(body)
    options["num_predict"] = params.read_max_tokens(
        body,
        thinking,
        defaulted=max_tokens_defaulted,
        default=default_max_tokens,
        cap=info.max_output_tokens,
        has_tools=bool(wanted),
    )
    out: dict[str, Any] = {
        "model": model,
        "messages": talk.messages,
        "stream": True,
        "truncate": False,
        "shift": False,
    }
    if wanted:
        out["tools"] = ollama_tools(wanted)
    if think is not None:
        out["think"] = think
    if shape.wire is not None:
        out["format"] = shape.wire
    lost = {
        "messages": talk.noted,
        "tool_choice": choice.instruction is not None,
        "function_call": choice.instruction is not None and body.get("tool_choice") is None,
        "parallel_tool_calls": bool(wanted) and body.get("parallel_tool_calls") is False,
        "response_format": not shape.honoured,
        "reasoning_effort": not thinking.honoured,
    }
    reply = _PLAIN_REPLY
    if include_usage or shape.json_object or given.by_name:
        reply = ReplyShape(
            custom_tools=given.custom,
            legacy_functions=given.legacy,
            include_usage=include_usage,
            json_object=shape.json_object,
        )
    named = params.dropped(body, _USED, lost)
    return OllamaRequest(out, options, named, reply, talk.images, talk.image_chars)


def _last_answer(messages: list[Any]) -> int:
    """The index of the last message of an assistant; -1 without one."""
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(message := messages[index], dict) and message.get("role") == "assistant":
            return index
    return -1


def read_options(body: Mapping[str, Any]) -> Block:
    """:data:`SAMPLING` and ``stop`` as ``options``. Raises ``BadRequest``."""
    options: Block = {}
    for name, whole in SAMPLING.items():
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            wanted = "an integer" if whole else "a number"
            raise _check.invalid(name, f"`{name}` must be {wanted}.", "invalid_type")
        if whole and not -(2**63) <= value < 2**63:
            raise _check.invalid(name, f"`{name}` is beyond 64 bits.")
        options[name] = value
    stop, _ = params.read_stop(body, blank=True)
    if stop:
        options["stop"] = stop
    return options


def _read_think(body: Mapping[str, Any], can: ModelCapabilities) -> tuple[bool | str | None, params.Thinking]:
    """``reasoning_effort`` as ``think``, and the room that it needs. None leaves it to the model: asking a
    model to think that cannot is refused."""
    effort, room = params.read_effort(body), params.ALLOWANCE[params.UNSAID_EFFORT]
    if effort is None:
        return None, params.Thinking(allowance=room if can.thinks_by_default else 0)
    if effort == "none":
        if "disabled" in can.thinking:
            return False, params.Thinking()
        if can.effort:
            return can.effort[0], params.Thinking(allowance=params.ALLOWANCE.get(can.effort[0], room))
        return None, params.Thinking(
            allowance=room if can.thinks_by_default else 0, honoured=not can.thinks_by_default
        )
    if level := params.nearest(effort, can.effort):
        return level, params.Thinking(allowance=params.ALLOWANCE.get(level, room))
    if "enabled" in can.thinking:
        return True, params.Thinking(allowance=params.ALLOWANCE[effort])
    return None, params.Thinking(allowance=room if can.thinks_by_default else 0, honoured=False)


def _read_format(body: Mapping[str, Any], *, has_tools: bool) -> params.Format:
    """``response_format`` as ``format``. Beside tools it is only asked for: Ollama turns a format into a
    grammar for everything that the model writes, and no call of a tool fits through it."""
    kind, schema = params.asked_format(body)
    if kind == "text":
        return params.Format()
    if schema is not None:
        _check.obj(schema, params.SCHEMA_PLACE)
    if not has_tools:
        return params.Format("json" if schema is None else schema)
    instruction = params.JSON_OBJECT_INSTRUCTION
    if schema is not None:
        instruction = params.with_schema(_check.as_json(schema))
    return params.Format(instruction=instruction, json_object=True, honoured=False)
