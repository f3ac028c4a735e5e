"""Ollama's native API below ``/api/`` (and the root page), with the runners that it keeps loaded."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from ..bills import Bill
from ..ledger import Received
from ..program import Dialect, Program, billed, early_faults, head_of, stream_answer, whole_answer
from ..scenario import PLAIN, Scenario
from . import chat, embed, generate
from .go_json import GoError, dumps
from .lines import Reply
from .models import MODELS, OllamaModel
from .refusal import DEFAULT_MESSAGES, OllamaRefusal, look_up
from .requests import decode, ignored_fields

#: The version whose sources this follows.
VERSION = "0.33.0"

_JSON = b"application/json; charset=utf-8"
_TEXT = b"text/plain; charset=utf-8"

#: Bodies up to this size are remembered with their answer.
_MEMO_BODY_BYTES = 16 * 1024
_MEMO_ENTRIES = 1024

_METHODS = {
    "/": ("GET", "HEAD"),
    "/api/version": ("GET", "HEAD"),
    "/api/tags": ("GET", "HEAD"),
    "/api/ps": ("GET",),
    "/api/show": ("POST",),
    "/api/chat": ("POST",),
    "/api/generate": ("POST",),
    "/api/embed": ("POST",),
}


class _Remembered(NamedTuple):
    program: Program
    model: OllamaModel
    num_ctx: int
    shift: bool
    notes: dict[str, Any]


def _failure(scenario: Scenario) -> bytes:
    message = scenario.message or "an error was encountered while running the model: unexpected EOF"
    return dumps({"error": message}) + b"\n"


_LINE = b'{"model":"simulated","created_at":"2026-11-23T12:00:00.5Z","message":{"role":"assistant","content":'
_DIALECT = Dialect(
    content_type=b"application/x-ndjson",
    end=b"\n",
    broken={
        "bad_json": _LINE + b'"half a\n',
        "bad_utf8": _LINE + b'"\xff\xfe"},"done":false}\n',
        "unknown_event": _LINE + b'"","weather":"blue"},"done":false,"forecast":{"sky":["blue"]}}\n',
    },
    error=_failure,
)
_GENERATE_LINE = b'{"model":"simulated","created_at":"2026-11-23T12:00:00.5Z","response":'
_DIALECTS = {
    "/api/chat": _DIALECT,
    "/api/generate": _DIALECT._replace(
        broken={
            "bad_json": _GENERATE_LINE + b'"half a\n',
            "bad_utf8": _GENERATE_LINE + b'"\xff\xfe","done":false}\n',
            "unknown_event": _GENERATE_LINE + b'"","done":false,"forecast":{"sky":["blue"]}}\n',
        },
    ),
}
_ANSWERS = {"/api/chat": chat.answer, "/api/generate": generate.answer}


class OllamaMount:
    """See ``perf/README.md``. ``GET /_sim/ollama`` tells which runners are loaded and how often each was:
    ``num_ctx`` and ``shift`` are options of loading, so that another value costs a reload."""

    prefix: str | tuple[str, ...] = ("/api/", "/_sim/ollama")

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._loaded: dict[str, tuple[int, bool]] = {}
        self._loads: dict[str, list[dict[str, Any]]] = {}
        self._memo: dict[bytes, _Remembered] = {}
        self._shown = {name: dumps(model.shown()) for name, model in MODELS.items()}
        self._tags = dumps({"models": [model.listed() for model in MODELS.values()]})

    def handle(self, received: Received, path: str, scenario: Scenario | None) -> Program:
        """The answer to one request; never raises."""
        if path == "/api/chat" and scenario is None and received.method == "POST":
            remembered = self._memo.get(received.raw)
            if remembered is not None:
                self._run(received, remembered)
                return remembered.program
        try:
            return self._handle(received, path, scenario)
        except OllamaRefusal as refused:
            return _refuse(refused.status, refused.message)

    def _handle(self, received: Received, path: str, scenario: Scenario | None) -> Program:
        if path == "/_sim/ollama":
            return self._control(received.method)
        allowed = _METHODS.get(path)
        if allowed is None:
            return whole_answer(404, b"text/plain", b"404 page not found", headers=b"")
        if received.method not in allowed:
            return whole_answer(405, b"text/plain", b"405 method not allowed", headers=b"")
        if scenario is not None and scenario.status >= 400:
            return scripted_error(scenario)
        program = early_faults(scenario or PLAIN, self._answer(received, path, scenario))
        return head_of(program) if received.method == "HEAD" else program

    def _answer(self, received: Received, path: str, scenario: Scenario | None) -> Program:
        match path:
            case "/":
                return whole_answer(200, _TEXT, b"Ollama is running", scenario, b"")
            case "/api/version":
                return _json(dumps({"version": VERSION}), scenario)
            case "/api/tags":
                return _json(self._tags, scenario)
            case "/api/ps":
                rows = [MODELS[name].running(num_ctx) for name, (num_ctx, _) in self._loaded.items()]
                return _json(dumps({"models": rows}), scenario)
            case "/api/chat" | "/api/generate":
                return self._written(path, received, scenario)
            case "/api/embed":
                return self._embed(received, scenario)
        request = _decode(path, received.raw)
        name = request.get("model") or request.get("name") or ""
        model = look_up(name, blank=400, blank_message="model is required")
        return _json(self._shown[model.name], scenario)

    def _written(self, path: str, received: Received, scenario: Scenario | None) -> Program:
        request = _decode(path, received.raw)
        answer = _ANSWERS[path](request, scenario, strict=self._strict)
        if answer.unload:
            self._loaded.pop(answer.model.name, None)
            return _json(answer.said if isinstance(answer.said, bytes) else b"{}")
        if ignored := ignored_fields(received.raw, path):
            answer.notes["ignored_fields"] = ignored
        remembered = _Remembered(
            _program(answer, _DIALECTS[path], stream=request.get("stream", True)),
            answer.model,
            answer.num_ctx,
            answer.shift,
            answer.notes,
        )
        self._run(received, remembered)
        if path == "/api/chat" and scenario is None and len(received.raw) <= _MEMO_BODY_BYTES:
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.clear()
            self._memo[received.raw] = remembered
        return remembered.program

    def _embed(self, received: Received, scenario: Scenario | None) -> Program:
        request = _decode("/api/embed", received.raw)
        model, num_ctx, body = embed.answer(request)
        tokens = orjson.loads(body).get("prompt_eval_count", 0)
        program = billed(_json(body, scenario), Bill(model.name, tokens))
        notes = {"model": model.name, "num_ctx": num_ctx}
        self._run(received, _Remembered(program, model, num_ctx, True, notes))
        return program

    def _run(self, received: Received, needed: _Remembered) -> None:
        """Load the runner if another one, or none, is there; note it."""
        name = needed.model.name
        runner = (needed.num_ctx, needed.shift)
        if self._loaded.get(name) != runner:
            self._loaded[name] = runner
            self._loads.setdefault(name, []).append({"num_ctx": needed.num_ctx, "shift": needed.shift})
        received.notes = {**needed.notes, "loads": len(self._loads[name])}

    def _control(self, method: str) -> Program:
        match method:
            case "GET":
                loaded = {
                    name: {"num_ctx": num_ctx, "shift": shift}
                    for name, (num_ctx, shift) in self._loaded.items()
                }
                return _json(orjson.dumps({"loaded": loaded, "loads": self._loads}))
            case "DELETE":
                self._loaded.clear()
                self._loads.clear()
                return _json(b"{}")
        return _refuse(405, "method not allowed")


def _program(answer: chat.Answer, dialect: Dialect, *, stream: bool) -> Program:
    scenario = answer.scenario
    match answer.said:
        case None:
            return scripted_error(scenario)
        case bytes() as body:
            return _json(body, scenario)
        case Reply() as said if stream:
            return billed(stream_answer(scenario, said.lines(), dialect), _bill(answer.model, said))
        case Reply(error=str() as error):
            return early_faults(scenario, _refuse(500, error, scenario))
        case Reply() as said:
            program = early_faults(scenario, _json(said.whole(), scenario))
            return billed(program, _bill(answer.model, said))


def _bill(model: OllamaModel, said: Reply) -> Bill:
    """Local models cost nothing, but what they do is counted. (Counts of zero are not told.)"""
    counts = said.last
    return Bill(model.name, counts.get("prompt_eval_count", 0), counts.get("eval_count", 0))


def scripted_error(scenario: Scenario) -> Program:
    """The program of a scenario whose status is an error."""
    if scenario.body is not None:
        program = whole_answer(scenario.status, b"text/html", scenario.body.encode(), scenario, b"")
    else:
        message = scenario.message or DEFAULT_MESSAGES.get(scenario.status, "simulated failure")
        program = _refuse(scenario.status, message, scenario)
    return early_faults(scenario, program)


def _decode(path: str, raw: bytes) -> dict[str, Any]:
    try:
        return decode(path, raw)
    except GoError as error:
        text = str(error)
        raise OllamaRefusal(400, "missing request body" if text == "EOF" else text) from None


def _json(body: bytes, scenario: Scenario | None = None) -> Program:
    return whole_answer(200, _JSON, body, scenario, b"")


def _refuse(status: int, message: str, scenario: Scenario | None = None) -> Program:
    return whole_answer(status, _JSON, dumps({"error": message}), scenario, b"")
