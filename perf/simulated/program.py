"""Scenario and plan compiled to a program: bytes, pauses and faults, ready to be played on a socket.

Compiling is pure and its result is immutable, so that the server can keep the program of a request
that comes again: a repeated request then costs a dictionary look-up and one write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from providers.simulated.events import events, sse
from providers.simulated.prefix import sign
from providers.simulated.replies import Plan, Planner

from .bills import Bill
from .refusal import Refusal, refusal_of
from .scenario import Scenario

#: Stands for the request id in a program; the player writes the real one, of the same length.
REQUEST_ID = b"req_sim_000000000000"

_REQUEST_ID_HEADER = b"request-id: " + REQUEST_ID + b"\r\n"

#: Seconds before a reset, so that the peer has read what was written: a reset may overtake data.
_RESET_DELAY = 0.02


class Action(IntEnum):
    WRITE = 0
    #: TCP reset.
    RESET = 1
    #: FIN, whatever the framing promised.
    CLOSE = 2
    #: Nothing more, until the client goes.
    STALL = 3


class Step(NamedTuple):
    """Wait ``delay`` seconds, then act. ``events`` is how many SSE events ``data`` completes."""

    delay: float
    action: Action
    data: bytes = b""
    events: int = 0


@dataclass(slots=True, frozen=True)
class Program:
    """``head`` is everything up to the body (for JSON answers the body too), written after ``hold`` s."""

    status: int
    head: bytes
    steps: tuple[Step, ...] = ()
    hold: float = 0
    keep_alive: bool = True
    #: What the whole of it costs; None for what asks no model.
    bill: Bill | None = None
    #: It ends before its time, as the scenario wants it.
    broken: bool = False


class Dialect(NamedTuple):
    """How one API writes a stream. ``end`` closes each event, ``broken`` are the frames of the faults
    ``bad_json``, ``bad_utf8`` and ``unknown_event``, ``error`` is the frame of a failure in mid-stream."""

    content_type: bytes
    end: bytes
    broken: Mapping[str, bytes]
    error: Callable[[Scenario], bytes]
    #: Further header lines of a stream.
    stream_headers: bytes = b""
    #: Further header lines of every answer.
    headers: bytes = b""


def make_plan(planner: Planner, request: dict[str, Any], scenario: Scenario) -> Plan:
    """The reply to ``request`` as ``scenario`` wants it said."""
    blocks = scenario.blocks
    if blocks is None and scenario.tokens is not None:
        blocks = [{"type": "text", "text": " word" * scenario.tokens}] if scenario.tokens else []
    elif blocks is None and scenario.text is not None:
        blocks = [{"type": "text", "text": scenario.text}]
    elif blocks is None and scenario.stop_reason == "refusal":
        blocks = []
    details = dict(scenario.stop_details) if scenario.stop_details else None
    if scenario.stop_reason == "refusal" and details is None:
        details = {"type": "refusal", "category": "general_harms", "explanation": "Simulated refusal."}
    if blocks is None:
        plan = planner.plan(request)
    else:
        signed = [
            {**block, "signature": sign(request, request["messages"], str(block["thinking"]))}
            if block.get("type") == "thinking" and "signature" not in block
            else block
            for block in blocks
        ]
        called = any(block.get("type") == "tool_use" for block in signed)
        plan = planner.finish(request, signed, "tool_use" if called else "end_turn")
    if scenario.stop_reason is not None:
        plan = replace(plan, stop_reason=scenario.stop_reason, stop_details=details)
    if scenario.usage is not None:
        plan = replace(plan, usage={**plan.usage, **scenario.usage})
    return plan


def answer(scenario: Scenario, plan: Plan, *, stream: bool) -> Program:
    """The program of a good status: an event stream or one JSON message."""
    if not stream:
        return billed(early_faults(scenario, json_answer(200, plan.message(), scenario)), bill_of(plan))
    per_delta = 1 if scenario.tokens is not None else 3
    frames = [sse(event) for event in events(plan, pieces_per_delta=per_delta)]
    return billed(stream_answer(scenario, frames), bill_of(plan))


def billed(program: Program, bill: Bill) -> Program:
    """``program``, which costs ``bill``."""
    return replace(program, bill=bill)


def bill_of(plan: Plan) -> Bill:
    """What the answer of ``plan`` costs, by its usage in Anthropic's words."""
    usage = plan.usage
    written = usage.get("cache_creation_input_tokens") or 0
    split = usage.get("cache_creation") or {}
    for_an_hour = min(split.get("ephemeral_1h_input_tokens") or 0, written)
    return Bill(
        plan.model,
        usage["input_tokens"],
        usage["output_tokens"],
        usage.get("cache_read_input_tokens") or 0,
        written - for_an_hour,
        for_an_hour,
        (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0),
        usage.get("inference_geo") or "",
    )


def stream_answer(scenario: Scenario, frames: list[bytes], dialect: Dialect | None = None) -> Program:
    """The program of a stream of ``frames``, one event each; Claude's without a ``dialect``."""
    return early_faults(scenario, _stream(scenario, frames, dialect or _MESSAGES))


def refuse(refusal: Refusal, scenario: Scenario | None = None) -> Program:
    """The program of an error envelope."""
    body = refusal.envelope(REQUEST_ID.decode())
    return json_answer(refusal.status, body, scenario)


def scripted_error(scenario: Scenario) -> Program:
    """The program of a scenario whose status is an error."""
    if scenario.body is None:
        program = refuse(refusal_of(scenario.status, scenario.message, scenario.error_type), scenario)
    else:
        program = json_answer(scenario.status, scenario.body, scenario)
    return early_faults(scenario, program)


def json_answer(status: int, body: Any, scenario: Scenario | None = None) -> Program:
    """``body`` as JSON, or as HTML when it is a string (what a proxy in between would say)."""
    html = isinstance(body, str)
    data = body.encode() if html else orjson.dumps(body)
    return whole_answer(status, b"text/html" if html else b"application/json", data, scenario)


def whole_answer(
    status: int,
    content_type: bytes,
    data: bytes,
    scenario: Scenario | None = None,
    headers: bytes = _REQUEST_ID_HEADER,
) -> Program:
    """The program of a body that is sent in one piece; ``headers`` are further header lines."""
    head = _head(status, content_type, headers, scenario) + b"content-length: %d\r\n\r\n" % len(data)
    return Program(status, head + data, hold=scenario.hold_ms / 1000 if scenario else 0)


def head_of(program: Program) -> Program:
    """The same answer to a HEAD request: no body."""
    head, end, _ = program.head.partition(b"\r\n\r\n")
    return replace(program, head=head + end, steps=())


def _head(status: int, content_type: bytes, headers: bytes, scenario: Scenario | None) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Overloaded"  # 529 is not registered
    lines = [
        f"HTTP/1.1 {status} {phrase}".encode(),
        b"content-type: " + content_type,
    ]
    if scenario is not None:
        if scenario.retry_after is not None:
            lines.append(f"retry-after: {scenario.retry_after:g}".encode())
        lines += [f"{name}: {value}".encode() for name, value in scenario.headers.items()]
    return b"\r\n".join(lines) + b"\r\n" + headers


def early_faults(scenario: Scenario, program: Program) -> Program:
    """Faults that replace the whole answer."""
    hold = scenario.hold_ms / 1000
    match scenario.fault:
        case "hang":
            return Program(program.status, b"", (Step(0, Action.STALL),), hold)
        case "drop":
            return Program(program.status, b"", (Step(0, Action.CLOSE),), hold)
        case "bad_http":
            return Program(program.status, b"220 this is not HTTP\r\n\r\n", (Step(0, Action.CLOSE),), hold)
    return program


def _stream(scenario: Scenario, frames: list[bytes], dialect: Dialect) -> Program:
    ending: Action | None = None
    at_end = scenario.fault in ("truncate", "cut")
    last = max(len(frames) - 1, 0)  # a fault that nobody placed comes before the terminal event
    after = scenario.after if scenario.after is not None else last if at_end else min(4, last)
    match scenario.fault:
        case "reset" | "stall" | "cut":
            frames = frames[:after]
            ending = {"reset": Action.RESET, "stall": Action.STALL, "cut": Action.CLOSE}[scenario.fault]
        case "truncate":
            frames = frames[:after]
        case "error":
            frames = [*frames[:after], dialect.error(scenario)]
        case "bad_json" | "bad_utf8" | "unknown_event":
            frames = [*frames[:after], dialect.broken[scenario.fault], *frames[after:]]
    head = _head(200, dialect.content_type, dialect.headers + dialect.stream_headers, scenario)
    steps = _steps(scenario, frames, _chunk if scenario.framing == "chunked" else bytes, dialect.end)
    match scenario.framing:
        case "chunked":
            head += b"transfer-encoding: chunked\r\n\r\n"
            if ending is None:
                steps = _append(steps, b"0\r\n\r\n")
        case "close":
            head += b"connection: close\r\n\r\n"
        case "length":
            # A fault must break the promise: the length is that of one event more than is sent.
            extra = 16 if ending is not None else 0
            head += b"content-length: %d\r\n\r\n" % (sum(len(step.data) for step in steps) + extra)
    if ending is not None:
        steps.append(Step(_RESET_DELAY if ending is Action.RESET else 0, ending))
    broken = ending is not None or scenario.fault in ("truncate", "error")
    return Program(
        200, head, tuple(steps), scenario.hold_ms / 1000, scenario.framing != "close", broken=broken
    )


def _steps(scenario: Scenario, frames: list[bytes], wrap: Callable[[bytes], bytes], end: bytes) -> list[Step]:
    """``frames`` as writes; the first goes out with the head. ``wrap`` frames one piece of the body:
    each event is an HTTP chunk of its own, also when many leave in one write, as from a real server."""
    delay = scenario.delay_ms / 1000
    coalesce = scenario.coalesce if scenario.coalesce is not None else not delay and not scenario.split
    if not frames:
        return []
    if scenario.split:
        whole = b"".join(frames)
        cuts = [whole[at : at + scenario.split] for at in range(0, len(whole), scenario.split)]
        ends = [cut.count(end) for cut in cuts]  # close enough for a ledger: a cut may halve one
        return [
            Step(delay if index else 0, Action.WRITE, wrap(cut), count)
            for index, (cut, count) in enumerate(zip(cuts, ends, strict=True))
        ]
    if coalesce:
        return [Step(0, Action.WRITE, b"".join(map(wrap, frames)), len(frames))]
    return [Step(delay if index else 0, Action.WRITE, wrap(frame), 1) for index, frame in enumerate(frames)]


def _chunk(data: bytes) -> bytes:
    """One chunk of RFC 9112, section 7.1."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _append(steps: Sequence[Step], data: bytes) -> list[Step]:
    """The end of the body travels with the last event, as servers do it."""
    if not steps:
        return [Step(0, Action.WRITE, data)]
    return [*steps[:-1], steps[-1]._replace(data=steps[-1].data + data)]


def _overloaded(scenario: Scenario) -> bytes:
    return sse(refusal_of(529, scenario.message, scenario.error_type).envelope())


_BROKEN = {
    "bad_json": b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,\n\n',
    "bad_utf8": b"event: content_block_delta\ndata: "
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\xff\xfe"}}\n\n',
    "unknown_event": b'event: weather_report\ndata: {"type":"weather_report","sky":"blue"}\n\n',
}

_MESSAGES = Dialect(
    content_type=b"text/event-stream; charset=utf-8",
    end=b"\n\n",
    broken=_BROKEN,
    error=_overloaded,
    stream_headers=b"cache-control: no-cache\r\n",
    headers=_REQUEST_ID_HEADER,
)
