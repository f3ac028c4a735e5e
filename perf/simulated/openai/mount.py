"""OpenAI's API below ``/openai/v1``: a request in, a program out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from providers.simulated.prefix import estimate_tokens
from providers.simulated.replies import Planner, last_user_text

from ..bills import Bill
from ..ledger import Received
from ..program import (
    REQUEST_ID,
    Action,
    Dialect,
    Program,
    Step,
    billed,
    early_faults,
    make_plan,
    stream_answer,
)
from ..program import whole_answer as whole
from ..scenario import PLAIN, Scenario, directive
from . import completions, embeddings
from .chunks import bill_of_usage, completion, frames, usage_of
from .models import MODELS, OpenAIModel, find
from .paid import paid_refusal
from .quirks import check_quirks
from .refusal import OpenAIRefusal, missing, refusal_of, wrong_type
from .strict import check_request
from .strict_tools import check_tools
from .translate import messages_request

_JSON = b"application/json"
_HEADERS = b"x-request-id: " + REQUEST_ID + b"\r\nopenai-version: 2020-10-01\r\n"
#: Bodies up to this size are remembered with their answer.
_MEMO_BODY_BYTES = 16 * 1024
_MEMO_ENTRIES = 1024
#: Seconds before a reset, so that the peer has read what was written: a reset may overtake data.
_RESET_DELAY = 0.02
_FAILED = "The server had an error processing your request. Sorry about that!"
_NOT_A_CHAT = (
    "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to "
    "use v1/completions?"
)
#: What goes wrong where a request is read that nobody has judged.
_NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
_METHODS = {
    "/openai/v1/chat/completions": ("POST",),
    "/openai/v1/completions": ("POST",),
    "/openai/v1/embeddings": ("POST",),
    "/openai/v1/models": ("GET",),
}


def _failure(scenario: Scenario) -> bytes:
    refusal = refusal_of(500, scenario.message or _FAILED, scenario.error_type)
    return b"data: " + orjson.dumps(refusal.envelope()) + b"\n\n"


_CHUNK = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,'
_DIALECT = Dialect(
    content_type=b"text/event-stream; charset=utf-8",
    end=b"\n\n",
    broken={
        "bad_json": _CHUNK + b"\n\n",
        "bad_utf8": _CHUNK + b'"delta":{"content":"\xff\xfe"},"finish_reason":null}]}\n\n',
        "unknown_event": b'event: weather\ndata: {"object":"weather.report","sky":"blue"}\n\n',
    },
    error=_failure,
    stream_headers=b"cache-control: no-cache\r\n",
    headers=_HEADERS,
)


class OpenAIMount:
    """See ``perf/README.md``. Point a client at ``<origin>/openai/v1`` with any key."""

    prefix: str | tuple[str, ...] = "/openai/"

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._memo: dict[bytes, Program] = {}
        self._models = orjson.dumps({"object": "list", "data": [model.wire() for model in MODELS.values()]})

    def handle(self, received: Received, path: str, scenario: Scenario | None) -> Program:
        """The answer to one request; never raises."""
        try:
            if self._strict:
                _check_key(received.raw_headers)
            if path == "/openai/v1/chat/completions" and scenario is None and received.method == "POST":
                return self._remembered(received)
            return self._handle(received, path, scenario)
        except OpenAIRefusal as refused:
            return refuse(refused)

    def _remembered(self, received: Received) -> Program:
        program = self._memo.get(received.raw)
        if program is None:
            program = self._chat(received, None)
            if len(received.raw) <= _MEMO_BODY_BYTES:
                if len(self._memo) >= _MEMO_ENTRIES:
                    self._memo.clear()
                self._memo[received.raw] = program
        return program

    def _handle(self, received: Received, path: str, scenario: Scenario | None) -> Program:
        if scenario is not None and scenario.status >= 400:
            return scripted_error(scenario)
        if received.method not in _METHODS.get(path, ("GET", "POST")):
            raise OpenAIRefusal(f"Not allowed to {received.method} on {path}", status=405)
        match path.removeprefix("/openai/v1").split("/")[1:]:
            case ["chat", "completions"]:
                return self._chat(received, scenario)
            case ["completions"]:
                return self._complete(received, scenario)
            case ["embeddings"]:
                request = _parse(received.raw)
                found = embeddings.answer(request, _model(request))
                bill = Bill(found["model"], found["usage"]["prompt_tokens"])
                program = early_faults(scenario or PLAIN, _answer(orjson.dumps(found), scenario))
                return billed(program, bill)
            case ["models"]:
                return early_faults(scenario or PLAIN, _answer(self._models, scenario))
            case ["models", name] if (model := find(name)) is not None:
                return _answer(orjson.dumps(model.wire()), scenario)
            case ["models", name]:
                raise _no_model(name)
        raise OpenAIRefusal(f"Invalid URL ({received.method} {path})", status=404)

    def _chat(self, received: Received, scenario: Scenario | None) -> Program:
        request = _parse(received.raw)
        model = _model(request)
        if model.dimensions or model.completes:
            raise OpenAIRefusal(_NOT_A_CHAT, param="model", status=404)
        if self._strict and (scenario is None or scenario.strict):
            _check_quirks(request, model)
            check_tools(request, model)
            try:
                check_request(request, model)
                check_quirks(request, model, _tokens(received))
            except OpenAIRefusal as refused:
                if "paid-refusals" in model.quirks:
                    return _paid(refused, request, model, _tokens(received))
                if "error-200" not in model.quirks:
                    raise
                return refuse(refused, status=200)
        try:
            return _planned(received, request, model, scenario)
        except _NONSENSE as error:
            # Without strictness, what was let through may make no sense to the planner either.
            raise OpenAIRefusal(f"simulation: {error!r}") from None

    def _complete(self, received: Received, scenario: Scenario | None) -> Program:
        request = _parse(received.raw)
        model = _model(request)
        completions.check_model(model)
        if self._strict and (scenario is None or scenario.strict):
            _check_quirks(request, model)
            try:
                completions.check_request(request, model)
            except OpenAIRefusal as refused:
                if "paid-refusals" not in model.quirks:
                    raise
                return _paid(refused, request, model, _tokens(received))
        try:
            return _completed(received, request, model, scenario)
        except _NONSENSE as error:
            raise OpenAIRefusal(f"simulation: {error!r}") from None


def _planned(
    received: Received, request: dict[str, Any], model: OpenAIModel, scenario: Scenario | None
) -> Program:
    """The answer to a chat."""
    asked = messages_request(request, model)
    scenario = scenario or directive(last_user_text(asked)) or PLAIN
    if scenario.status >= 400:
        return scripted_error(scenario)
    _check_size(received, model)
    plan = make_plan(Planner(), asked, replace(scenario, usage=None))
    usage = usage_of(plan, scenario.usage or {}, request.get("n") or 1)
    if request.get("stream") is True and "json-stream" not in model.quirks:
        per_delta = 1 if scenario.tokens is not None else 3
        written = frames(plan, request, model, usage, per_delta=per_delta)
        return billed(stream_answer(scenario, written, _DIALECT), bill_of_usage(plan, usage))
    program = _whole(scenario, completion(plan, request, usage))
    return program if scenario.fault == "error" else billed(program, bill_of_usage(plan, usage))


def _completed(
    received: Received, request: dict[str, Any], model: OpenAIModel, scenario: Scenario | None
) -> Program:
    """The answer to a prompt."""
    asked = completions.messages_request(request, model)
    scenario = scenario or directive(last_user_text(asked)) or PLAIN
    if scenario.status >= 400:
        return scripted_error(scenario)
    _check_size(received, model)
    plan = make_plan(Planner(), asked, replace(scenario, usage=None))
    usage = usage_of(plan, scenario.usage or {}, completions.choice_count(request))
    if request.get("stream") is True:
        per_delta = 1 if scenario.tokens is not None else 3
        written = completions.frames(plan, request, model, usage, per_delta=per_delta)
        return billed(stream_answer(scenario, written, _DIALECT), bill_of_usage(plan, usage))
    program = _whole(scenario, completions.completion(plan, request, usage))
    return program if scenario.fault == "error" else billed(program, bill_of_usage(plan, usage))


def _paid(refused: OpenAIRefusal, request: dict[str, Any], model: OpenAIModel, tokens: int) -> Program:
    """The program of a refusal that is billed."""
    stream = request.get("stream") is True and "json-stream" not in model.quirks
    body, bill = paid_refusal(refused, request, model, tokens, stream=stream)
    kind = _DIALECT.content_type if stream else _JSON
    return billed(whole(200, kind, body, None, _HEADERS), bill)


def refuse(refusal: OpenAIRefusal, scenario: Scenario | None = None, *, status: int | None = None) -> Program:
    """The program of an error envelope."""
    return whole(status or refusal.status, _JSON, orjson.dumps(refusal.envelope()), scenario, _HEADERS)


def scripted_error(scenario: Scenario) -> Program:
    """The program of a scenario whose status is an error."""
    if scenario.body is not None:
        program = whole(scenario.status, b"text/html", scenario.body.encode(), scenario, _HEADERS)
    else:
        refusal = refusal_of(scenario.status, scenario.message, scenario.error_type)
        program = refuse(refusal, scenario)
    return early_faults(scenario, program)


def _answer(body: bytes, scenario: Scenario | None) -> Program:
    return whole(200, _JSON, body, scenario, _HEADERS)


def _whole(scenario: Scenario, body: dict[str, Any]) -> Program:
    """A completion, with the scenario's fault in it: half of it, or something else."""
    fault, data = scenario.fault, orjson.dumps(body)
    half = data[: len(data) // 2 if scenario.after != 0 else 0]
    match fault:
        case "truncate" | "bad_json":
            return replace(_answer(half, scenario), broken=True)
        case "bad_utf8":
            return _answer(data.replace(b'"role":"assistant"', b'"role":"\xff\xfe"'), scenario)
        case "unknown_event":
            return _answer(orjson.dumps({**body, "weather": {"sky": "blue"}}), scenario)
        case "error":
            return refuse(refusal_of(500, scenario.message or _FAILED, scenario.error_type), status=200)
        case "reset" | "cut" | "stall":
            action = {"reset": Action.RESET, "cut": Action.CLOSE, "stall": Action.STALL}[fault]
            program = _answer(data, scenario)
            head = program.head[: len(program.head) - len(data) + len(half)]
            delay = _RESET_DELAY if action is Action.RESET else 0
            return Program(200, head, (Step(delay, action),), program.hold, broken=True)
    return early_faults(scenario, _answer(data, scenario))


def _check_key(headers: dict[str, str]) -> None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not key.strip():
        raise OpenAIRefusal(
            "You didn't provide an API key. You need to provide your API key in an Authorization header "
            "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
            status=401,
        )


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(raw)
    except ValueError:
        raise OpenAIRefusal("We could not parse the JSON body of your request.") from None
    if not isinstance(request, dict):
        raise OpenAIRefusal("We expected a JSON object in the body of your request.")
    return request


def _model(request: dict[str, Any]) -> OpenAIModel:
    name = request.get("model")
    if name is None:
        raise missing("model")
    if not isinstance(name, str):
        raise wrong_type("model", "a string", name)
    model = find(name)
    if model is None:
        raise _no_model(name)
    return model


def _no_model(name: str) -> OpenAIRefusal:
    what = f"The model `{name}` does not exist or you do not have access to it."
    return OpenAIRefusal(what, code="model_not_found", status=404)


def _tokens(received: Received) -> int:
    return estimate_tokens(len(received.raw))


def _check_size(received: Received, model: OpenAIModel) -> None:
    tokens = _tokens(received)
    if tokens > model.context:
        raise OpenAIRefusal(
            f"This model's maximum context length is {model.context} tokens. However, your messages resulted "
            f"in {tokens} tokens. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )


def _check_quirks(request: dict[str, Any], model: OpenAIModel) -> None:
    if "no-stream-options" in model.quirks and "stream_options" in request:
        # FastAPI's own refusal of a field that its model forbids has no envelope, and the status 422.
        raise _Detail("stream_options")


class _Detail(OpenAIRefusal):
    """``{"detail": [{"type": "extra_forbidden", "loc": […], "msg": …}]}``."""

    def __init__(self, field: str) -> None:
        super().__init__("Extra inputs are not permitted", param=field, status=422)

    def envelope(self) -> dict[str, Any]:
        loc = ["body", self.param]
        return {"detail": [{"type": "extra_forbidden", "loc": loc, "msg": self.message, "input": {}}]}
