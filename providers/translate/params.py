"""Parameters of a chat request that are neither messages nor tools.

How much the model may write and think is decided here; the reasons are in
``docs/decisions/004-default-max-tokens.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from ..types import ModelCapabilities
from . import _check
from ._check import Block
from .schema import normalised

EFFORTS = ("low", "medium", "high", "xhigh", "max")

#: Tokens of thinking that an effort is given room for, and the budget where a model wants a number.
ALLOWANCE = {"low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 65_536}
#: What most models that think by default run at when a request names no effort
#: (https://platform.claude.com/docs/en/build-with-claude/effort).
UNSAID_EFFORT = "high"
#: A tool call cut in its arguments is paid for and useless, so 1,200 tokens are not enough for one.
MIN_WITH_TOOLS = 8_192
#: The least ``thinking.budget_tokens`` that the API takes.
MIN_BUDGET = 1_024

JSON_OBJECT_INSTRUCTION = (
    "Answer with one valid JSON object and nothing else: no prose around it, no code fence."
)

#: Where a caller's schema stands, for errors.
SCHEMA_PLACE = "response_format.json_schema.schema"

#: Names go into a response header, so nothing else of the caller's may.
_NAMEABLE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_NAMED = 32


def check_single(body: Mapping[str, Any]) -> None:
    """Raise ``BadRequest`` unless one choice is asked for."""
    value = body.get("n")
    if value is not None and _check.positive(value, "n") > 1:
        raise _check.invalid("n", "Only one choice can be asked for (`n`: 1).", "unsupported_value")


def include_usage(body: Mapping[str, Any]) -> bool:
    """Whether a stream ends with its usage. Raises ``BadRequest``."""
    options = body.get("stream_options")
    if options is None:
        return False
    wanted = _check.obj(options, "stream_options").get("include_usage")
    return wanted is not None and _check.boolean(wanted, "stream_options.include_usage")


def dropped(body: Mapping[str, Any], used: frozenset[str], lost: Mapping[str, bool]) -> tuple[str, ...]:
    """The parameters of ``body`` that have no effect, in its order: those outside ``used``, and those
    that are true in ``lost``."""
    if used.issuperset(body) and True not in lost.values():
        return ()
    named = [
        name
        for name, value in body.items()
        if value is not None and (name not in used or lost.get(name)) and _NAMEABLE.fullmatch(name)
    ]
    return tuple(named[:_MAX_NAMED])


@dataclass(slots=True)
class Thinking:
    """How this request thinks. ``budget`` is set where the model wants ``budget_tokens``;
    ``allowance`` is the room to add to a defaulted ``max_tokens``."""

    config: Block | None = None
    effort: str | None = None
    allowance: int = 0
    budget: int = 0
    honoured: bool = True


def read_effort(body: Mapping[str, Any]) -> str | None:
    """``reasoning_effort``: ``none``, one of :data:`EFFORTS`, or None if unsaid. Raises ``BadRequest``."""
    asked = body.get("reasoning_effort")
    if asked is None:
        return None
    level = _check.text(asked, "reasoning_effort")
    level = "low" if level == "minimal" else level
    if level != "none" and level not in EFFORTS:
        raise _check.invalid(
            "reasoning_effort",
            f"`reasoning_effort` must be none, minimal, {', '.join(EFFORTS)}, not {level[:40]!r}.",
            "unsupported_value",
        )
    return level


def read_thinking(body: Mapping[str, Any], can: ModelCapabilities, *, no_budget: bool) -> Thinking:
    """``reasoning_effort`` in the terms of the model. Raises ``BadRequest``.

    ``no_budget``: this request cannot carry ``thinking: enabled`` (a forced tool, or a tool loop that does
    not begin with a block of thinking, as the API wants it to).
    """
    level = read_effort(body)
    if level is None:
        return _unsaid(can)
    if level == "none":
        return _least(can)
    effort = nearest(level, can.effort)
    if "adaptive" in can.thinking:
        return Thinking(_adaptive(), effort, ALLOWANCE[effort or level])
    if "enabled" in can.thinking and not no_budget:
        return Thinking({"type": "enabled"}, effort, ALLOWANCE[level], ALLOWANCE[level])
    return Thinking(None, effort, honoured=effort is not None)


def _unsaid(can: ModelCapabilities) -> Thinking:
    if not can.thinks_by_default:
        return Thinking()
    # Said explicitly for its `display`: by default the newest models return their thinking, and what
    # they write between two tool calls, as empty blocks, and a chat client would see nothing at all.
    return Thinking(_adaptive() if "adaptive" in can.thinking else None, allowance=ALLOWANCE[UNSAID_EFFORT])


def _least(can: ModelCapabilities) -> Thinking:
    if not can.thinks_by_default:
        return Thinking()
    if "disabled" in can.thinking:
        return Thinking({"type": "disabled"})
    if "between_tools" in can.thinking:
        return Thinking({"type": "between_tools"}, allowance=ALLOWANCE["low"])
    lowest = can.effort[0] if can.effort else None
    config = _adaptive() if "adaptive" in can.thinking else None
    return Thinking(config, lowest, ALLOWANCE[lowest or UNSAID_EFFORT], honoured=lowest is not None)


def _adaptive() -> Block:
    return {"type": "adaptive", "display": "summarized"}


def nearest(level: str, accepted: tuple[str, ...]) -> str | None:
    """The highest accepted effort that does not exceed ``level``, else the lowest; None without any."""
    rank = EFFORTS.index(level)
    below = [effort for effort in accepted if effort in EFFORTS and EFFORTS.index(effort) <= rank]
    return below[-1] if below else (accepted[0] if accepted else None)


def read_max_tokens(
    body: Mapping[str, Any],
    thinking: Thinking,
    *,
    defaulted: bool,
    default: int,
    cap: int | None,
    has_tools: bool,
) -> int:
    """``max_tokens`` for the upstream; settles ``thinking``'s budget. Raises ``BadRequest``."""
    asked = None
    for name in ("max_completion_tokens", "max_tokens"):
        if asked is None and body.get(name) is not None:
            asked = _check.positive(body[name], name)
    if asked is None or defaulted:
        visible = max(asked or default, MIN_WITH_TOOLS if has_tools else 0)
        asked = visible + thinking.allowance
    else:
        visible = asked
    limit = asked if cap is None else min(asked, cap)
    if thinking.budget:
        # Of a limit that is the caller's own, half is always left for the answer itself.
        budget = min(thinking.budget, max(limit // 2, limit - visible))
        if budget >= MIN_BUDGET:
            thinking.config = {"type": "enabled", "budget_tokens": budget}
        else:
            thinking.config, thinking.honoured = None, thinking.effort is not None
    return limit


def read_stop(body: Mapping[str, Any], *, blank: bool = False) -> tuple[list[str], bool]:
    """``(stop sequences, whether some were left out)``: empty ones, and blank ones unless the upstream
    takes them (Anthropic refuses them)."""
    value = body.get("stop")
    if value is None:
        return [], False
    if isinstance(value, str):
        given = [value]
    else:
        given = [_check.text(v, f"stop.{i}") for i, v in enumerate(_check.array(value, "stop"))]
    kept = [sequence for sequence in given if sequence and (blank or not sequence.isspace())]
    return kept, len(kept) < len(given)


def read_user(body: Mapping[str, Any], key: bytes) -> str | None:
    """A pseudonym of the caller's user. Keyed, since a plain hash of an e-mail address is guessable."""
    for name in ("safety_identifier", "user"):
        if body.get(name) is not None:
            user = _check.text(body[name], name).encode("utf-8", "surrogatepass")
            return blake2b(user, digest_size=16, key=key[:64]).hexdigest() if user else None
    return None


@dataclass(slots=True)
class Format:
    """What ``response_format`` comes to: a form that the upstream enforces, or an instruction."""

    wire: str | Block | None = None
    instruction: str | None = None
    json_object: bool = False
    honoured: bool = True


def asked_format(body: Mapping[str, Any]) -> tuple[str, Any]:
    """The kind of ``response_format`` (text, json_object, json_schema) and its schema as it was given, None
    without one. Raises ``BadRequest``."""
    value = body.get("response_format")
    if value is None:
        return "text", None
    kind = _check.text(_check.obj(value, "response_format").get("type"), "response_format.type")
    if kind == "json_schema":
        return kind, _check.obj(value.get("json_schema"), "response_format.json_schema").get("schema")
    if kind not in ("text", "json_object"):
        raise _check.invalid(
            "response_format.type", "`response_format.type` must be text, json_object or json_schema."
        )
    return kind, None


def with_schema(schema: bytes) -> str:
    """The instruction to answer in JSON that fits ``schema`` (as JSON)."""
    return f"{JSON_OBJECT_INSTRUCTION} It must match this JSON schema:\n{schema.decode()}"


def read_format(body: Mapping[str, Any], *, enforced: bool) -> Format:
    """``response_format`` for Claude. ``enforced``: the model has structured outputs.

    Raises ``BadRequest``.
    """
    kind, schema = asked_format(body)
    if kind == "text":
        return Format()
    if schema is None:
        return Format(instruction=JSON_OBJECT_INSTRUCTION, json_object=True)
    accepted = normalised(schema, SCHEMA_PLACE)
    if enforced:
        return Format({"type": "json_schema", "schema": accepted})
    try:
        shown = orjson.dumps(accepted)
    except TypeError:
        raise _check.invalid(SCHEMA_PLACE, "The schema cannot be written as JSON.") from None
    return Format(instruction=with_schema(shown), json_object=True, honoured=False)
