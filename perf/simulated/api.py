"""The simulated API: a request in, a program out. Knows paths, keys and rules; knows no socket."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from providers.simulated.models import MODELS, find
from providers.simulated.prefix import count_tokens
from providers.simulated.replies import Planner, last_user_text

from .access import AccessGate
from .bills import Bills
from .ledger import Ledger, Received
from .mounts import MOUNTS, Mount
from .program import Program, answer, json_answer, make_plan, refuse, scripted_error, whole_answer
from .refusal import Refusal, RefusedError, refusal_of
from .scenario import ANY, PLAIN, Scenario, directive, from_json
from .strict import check, check_headers
from .strict_thinking import dropped_thinking
from .when import When

#: https://platform.claude.com/docs/en/api/errors: the Messages API takes at most 32 MB.
MAX_BODY_BYTES = 32 * 1024 * 1024

#: Bodies up to this size are remembered with their program; larger ones cost more to keep than to redo.
_MEMO_BODY_BYTES = 16 * 1024
_MEMO_ENTRIES = 1024


class Api:
    """Everything about the simulation that outlives a connection."""

    def __init__(
        self,
        *,
        strict: bool = True,
        ollama_access: tuple[str, str] | None = None,
        mounts: Iterable[Callable[[bool], Mount]] = tuple(MOUNTS),
    ) -> None:
        self.strict = strict
        self._gate = AccessGate(*ollama_access) if ollama_access is not None else None
        self.ledger = Ledger()
        self.bills = Bills()
        self.scripted: deque[Scenario] = deque()
        #: What the request at hand has taken, and from where; only what would wait for another.
        self._taken: list[tuple[int, Scenario]] = []
        self._mounts = [mount(strict) for mount in mounts]
        self._planner = Planner()
        self._memo: dict[tuple[bytes, str | None, str | None], Program] = {}
        self._models = {name: orjson.dumps(model.wire()) for name, model in MODELS.items()}

    def script(self, scenarios: Iterable[Scenario]) -> None:
        """Scenarios for the requests to come: each takes the first one of its path that waits for it."""
        self.scripted.extend(scenarios)

    def handle(self, received: Received) -> Program:
        """The answer to a request whose body has arrived; never raises."""
        self._taken.clear()
        program = self._route(received)
        if program.status >= 400:
            # Who is refused asks again, better: the answer goes on waiting.
            for index, scenario in self._taken:
                self.scripted.insert(index, scenario)
        return program

    def _route(self, received: Received) -> Program:
        url = urlsplit(received.path)
        try:
            if url.path == "/v1/messages" and received.method == "POST":
                return self._messages(received)
            # The root page is Ollama's: its clients look there whether it runs.
            below = url.path if url.path != "/" else "/api/"
            if self._gate is not None and below.startswith("/api/"):
                stopped = self._gate.stop(received)
                if stopped is not None:
                    return stopped
            for mount in self._mounts:
                if below.startswith(mount.prefix):
                    return mount.handle(received, url.path, self._next(url.path, received))
            if url.path.startswith("/_sim/"):
                return self._control(received, url.path, parse_qs(url.query))
            return self._other(received, url.path, parse_qs(url.query))
        except RefusedError as refused:
            return refuse(refused.refusal)

    def _messages(self, received: Received) -> Program:
        headers = received.raw_headers
        # A script is for one request; a prompt-cache mark makes the second answer differ from the first.
        memorable = (
            not self.scripted
            and len(received.raw) <= _MEMO_BODY_BYTES
            and b'"cache_control"' not in received.raw
        )
        if not memorable:
            return self._answer(received, headers)
        key = (received.raw, headers.get("anthropic-version"), headers.get("anthropic-beta"))
        program = self._memo.get(key)
        if program is None:
            program = self._answer(received, headers)
            if program.status != 401:
                if len(self._memo) >= _MEMO_ENTRIES:
                    self._memo.clear()
                self._memo[key] = program
        elif self.strict:
            check_headers(headers)  # the key is not part of the memo's
        return program

    def _answer(self, received: Received, headers: Mapping[str, str]) -> Program:
        request = _parse(received.raw)
        scenario = self._next("/v1/messages", received)
        if scenario is None:
            try:
                scenario = directive(last_user_text(request)) or PLAIN
            except (ValueError, AttributeError, TypeError) as error:
                refusal = check(request, headers) if self.strict else None
                return refuse(refusal or refusal_of(400, f"simulation: {error}"))
        if self.strict and scenario.strict:
            refusal = check(request, headers)
            if refusal is not None:
                return refuse(refusal)
            if dropped := dropped_thinking(request):
                received.notes["dropped_thinking"] = dropped
        if scenario.status >= 400:
            return scripted_error(scenario)
        try:
            plan = make_plan(self._planner, request, scenario)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            # Only when strictness is off: what was let through makes no sense to the planner either.
            return refuse(refusal_of(400, f"simulation: {type(error).__name__}: {error}"))
        return answer(scenario, plan, stream=request.get("stream") is True)

    def _other(self, received: Received, path: str, query: dict[str, list[str]]) -> Program:
        scenario = self._next(path, received)
        if scenario is not None and scenario.status >= 400:
            return scripted_error(scenario)
        if self.strict:
            check_headers(received.raw_headers)
        if path == "/v1/messages/count_tokens" and received.method == "POST":
            return self._count(received, scenario or PLAIN)
        if path == "/v1/models" and received.method == "GET":
            return json_answer(200, self._page(query), scenario)
        if path.startswith("/v1/models/") and received.method == "GET":
            model = find(path.removeprefix("/v1/models/"))
            if model is None:
                raise RefusedError(refusal_of(404, f"model: {path.removeprefix('/v1/models/')}"))
            return json_answer(200, orjson.Fragment(self._models[model.id]), scenario)
        raise RefusedError(Refusal(404, "not_found_error", "Not found"))

    def _count(self, received: Received, scenario: Scenario) -> Program:
        request = _parse(received.raw)
        if self.strict and scenario.strict:
            refusal = check(request, received.raw_headers, counting=True)
            if refusal is not None:
                return refuse(refusal)
        try:
            return json_answer(200, {"input_tokens": count_tokens(request)}, scenario)
        except (AttributeError, KeyError, TypeError) as error:
            return refuse(refusal_of(400, f"simulation: {type(error).__name__}: {error}"))

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """One page of the model list (https://platform.claude.com/docs/en/api/models-list)."""
        names = list(self._models)
        if after := query.get("after_id"):
            names = names[names.index(after[0]) + 1 :] if after[0] in names else []
        if before := query.get("before_id"):
            names = names[: names.index(before[0])] if before[0] in names else []
        text = query.get("limit", ["20"])[0]
        limit = int(text) if text.isdigit() else 0
        if not 1 <= limit <= 1000:
            raise RefusedError(refusal_of(400, "limit: Input should be between 1 and 1000"))
        page = names[:limit]
        return {
            "data": [orjson.Fragment(self._models[name]) for name in page],
            "has_more": len(page) < len(names),
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }

    def _control(self, received: Received, path: str, query: dict[str, list[str]]) -> Program:
        match received.method, path:
            case "POST", "/_sim/script":
                try:
                    scenarios = [from_json(item) for item in orjson.loads(received.raw)]
                except (ValueError, TypeError) as error:
                    return json_answer(400, {"error": str(error)})
                self.script(scenarios)
                return json_answer(200, {"scripted": len(self.scripted)})
            case "GET", "/_sim/script":
                return json_answer(200, {"scripted": len(self.scripted)})
            case "GET", "/_sim/requests":
                return json_answer(200, [entry.wire() for entry in self.ledger])
            case "GET", "/_sim/ledger":
                after = query.get("after", ["0"])[0]
                if not after.isdigit():
                    return json_answer(400, {"error": "after: expected a number"})
                return whole_answer(200, b"application/x-ndjson", self.bills.json_lines(int(after)))
            case "DELETE", "/_sim/requests":
                self.ledger.clear()
                self.bills.clear()
                self.scripted.clear()
                return json_answer(200, {})
        return json_answer(404, {"error": "not found"})

    def _next(self, path: str, received: Received) -> Scenario | None:
        """Takes the first script for this request: of its path, and with a condition that holds."""
        for index, scenario in enumerate(self.scripted):
            if scenario.path == path and (scenario.when is ANY or _holds(scenario.when, received)):
                del self.scripted[index]
                if scenario.when is not ANY and scenario.status < 400:
                    self._taken.append((index, scenario))
                return scenario
        return None


def _holds(when: When, received: Received) -> bool:
    try:
        return when.holds(received.body)
    except ValueError:  # not JSON: its refusal says so
        return False


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except ValueError as error:
        raise RefusedError(refusal_of(400, f"The request body is not valid JSON: {error}")) from None
