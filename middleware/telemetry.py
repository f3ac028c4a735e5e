"""What happened to each request: its id, one line in the access log, the metrics.

Reads:   header ``x-request-id``; when the request is over, ``state["gateway.completion"]``,
         ``.principal``, ``.savings``, ``.refused`` and ``.aborted``, as the callbacks of ``record`` have left
         them
Writes:  ``state["gateway.request_id"]``; response headers ``x-request-id`` and ``x-gateway``
Streams: passed through message by message; the answer counts as over with its last body message
Limits:  metrics are per process unless prometheus_client runs in multi-process mode (``_metrics.py``)

Outermost, so that it sees everything, also what the other middlewares refuse. Log and metrics hold
metadata only: no body, no key, no header, no query string. A failure in here never costs an answer.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from time import gmtime, perf_counter, strftime, time
from typing import Any

import orjson

from ._asgi import ASGIApp, Message, Receive, Scope, Send, header, with_state
from ._metrics import Metrics
from ._reject import OnReject, Rejection, reject_json
from ._state import (
    ABORTED,
    COMPLETION,
    PRINCIPAL,
    REFUSED,
    REQUEST_ID,
    SAVINGS,
    Completion,
    Principal,
    Saving,
)

_log = logging.getLogger(__name__)
_ID_HEADER = b"x-request-id"
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
#: Characters of a path in the log; nobody's route is longer, and an attacker's would fill the disk.
_MAX_PATH = 256
#: nginx's status for "the client left before the answer was complete".
_CLIENT_CLOSED = 499
_ABORTED_STATUS = {"deadline": 504, "shutdown": 503}


#: ``(scope, state, at, status, seconds, ttft_seconds)``, once for every request that is over, also for one
#: that was refused or cancelled. ``at``: when it arrived, in Unix seconds. ``status`` is that of the answer;
#: 499, 503 or 504 where it was broken off by the client, the server's end or the deadline. ``ttft_seconds``:
#: from the arrival to the first content; None where there was none.
Record = Callable[[Scope, dict[str, Any], float, int, float, "float | None"], None]


class TelemetryMiddleware:
    """Gives every request an id and records how it ended.

    ``record``: callbacks, called in order at a request's end, before it is counted and logged: what one of
    them adds to ``state["gateway.completion"]`` (the cost) stands in metrics and log.
    ``metrics``: where to count (None: nowhere). ``access_log``: one JSON line per request, at INFO on
    ``logger`` or given to a function of your own (``_lines.LineWriter`` is a quick one; ``logger`` then
    has the errors only). ``gateway``: the value of the ``x-gateway`` response header. An exception from below
    becomes a 500 without details, logged with the request id; once the answer has begun it is raised
    on, so that the server drops the connection and nobody takes the fragment for an answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        record: Sequence[Record] = (),
        metrics: Metrics | None = None,
        access_log: bool | Callable[[str], None] = True,
        logger: logging.Logger | None = None,
        gateway: str = "claude-gateway",
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._callbacks = tuple(record)
        self._metrics = metrics
        self._logger = logger or logging.getLogger("gateway.access")
        self._write = access_log if callable(access_log) else self._log_line if access_log else None
        self._ids = _request_ids()
        self._gateway = (b"x-gateway", gateway.encode("latin-1"))
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, at = perf_counter(), time()
        scope, state = with_state(scope)
        given = header(scope["headers"], _ID_HEADER)
        request_id = given.decode("ascii") if given and _SANE_ID(given) else next(self._ids)
        state[REQUEST_ID] = request_id
        answer = _Answer(send, (_ID_HEADER, request_id.encode()), self._gateway)
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            if ABORTED not in state:
                self._logger.exception("unhandled error, request %s", request_id)
            if answer.status:
                raise
            await self._on_reject(
                Rejection(500, "The gateway failed to answer.", type="api_error", code="internal_error")
            )(scope, receive, answer.send)
        except BaseException:
            state.setdefault(ABORTED, "cancelled")
            raise
        finally:
            try:
                self._record(scope, state, answer, began, at)
            except Exception:  # noqa: BLE001 - an answer is worth more than its record
                _log.warning("request %s went unrecorded", request_id, exc_info=True)

    def _record(self, scope: Scope, state: dict[str, Any], answer: _Answer, began: float, at: float) -> None:
        seconds = (answer.ended or perf_counter()) - began
        completion: Completion | None = state.get(COMPLETION)
        aborted: str | None = state.get(ABORTED)
        status = answer.status or 500  # an application that returns without answering
        if aborted is not None:
            status = _ABORTED_STATUS.get(aborted, _CLIENT_CLOSED)
        ttft = None
        if completion is not None and completion.first_token_at is not None:
            ttft = max(completion.first_token_at - began, 0.0)
        for record in self._callbacks:
            try:
                record(scope, state, at, status, seconds, ttft)
            except Exception:  # noqa: BLE001 - the others, and the answer, do not depend on it
                _log.exception("request %s went unrecorded by %r", state[REQUEST_ID], record)
        completion = state.get(COMPLETION)
        if self._metrics is not None:
            refused: tuple[str, str] | None = state.get(REFUSED)
            self._metrics.observe(completion, status, seconds, ttft, None if refused is None else refused[1])
        if self._write is not None:
            self._write(_line(scope, state, status, seconds, ttft))

    def _log_line(self, line: str) -> None:
        log = self._logger
        if log.isEnabledFor(logging.INFO):
            # What log.info() does, without walking the stack for a caller that is always this line.
            log.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, line, (), None))


class _Answer:
    """Marks the response that passes, and remembers its status and end."""

    __slots__ = ("_marks", "_send", "ended", "status")

    def __init__(self, send: Send, *marks: tuple[bytes, bytes]) -> None:
        self._send = send
        self._marks = marks
        #: 0 until the response starts.
        self.status = 0
        #: ``perf_counter()`` when the last body message was handed to the server; 0 before.
        self.ended = 0.0

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.body":
            return self._send(message) if message.get("more_body", False) else self._last(message)
        if kind == "http.response.start":
            self.status = message["status"]
            # The length first: it tells all but one of the usual names apart without a copy.
            kept = [h for h in message.get("headers", ()) if len(h[0]) != 12 or h[0].lower() != _ID_HEADER]
            message = {**message, "headers": [*kept, *self._marks]}
        return self._send(message)

    async def _last(self, message: Message) -> None:
        await self._send(message)
        self.ended = perf_counter()


def _request_ids() -> Iterator[str]:
    """``req_`` and 24 random digits, for ever. Random bytes are fetched when the first id is asked for,
    so that processes forked before that do not share them."""
    return chain.from_iterable(iter(_batch_of_ids, None))


def _batch_of_ids() -> list[str]:
    # One system call for many: os.urandom() does not get cheaper with fewer bytes.
    digits = os.urandom(12 * 256).hex()
    return ["req_" + digits[at : at + 24] for at in range(0, len(digits), 24)]


def _line(scope: Scope, state: dict[str, Any], status: int, seconds: float, ttft: float | None) -> str:
    """One JSON object; what is not known is left out. (Put together from pieces that are escaped once
    and kept: a third of the cost of a dict and orjson.)"""
    now = time()
    second = int(now)
    line = (
        f'{{"time":"{_stamp(second)}.{int((now - second) * 1e6):06d}Z","request_id":"{state[REQUEST_ID]}",'
        f'{_target(scope["method"][:16], scope["path"][:_MAX_PATH])},"status":{status},'
        f'"duration_ms":{seconds * 1000:.3f}'
    )
    if ttft is not None:
        line += f',"ttft_ms":{ttft * 1000:.3f}'
    completion: Completion | None = state.get(COMPLETION)
    if completion is not None:
        line += (
            f"{_source(completion.provider, completion.model, completion.stream)},"
            f'"input_tokens":{completion.input_tokens},"output_tokens":{completion.output_tokens},'
            f'"cache_read_tokens":{completion.cache_read_tokens},'
            f'"cache_write_tokens":{completion.cache_write_tokens},'
            f'"reasoning_tokens":{completion.reasoning_tokens}'
        )
        if completion.cost_nano is not None:
            line += f',"cost_usd":{_dollars(completion.cost_nano)}'
        if completion.upstream_error is not None:
            line += f',"upstream_error":{_json("/".join(completion.upstream_error))}'
    principal: Principal | None = state.get(PRINCIPAL)
    if principal is not None:
        line += _caller(principal.project, principal.key_id)
    if ABORTED in state:
        line += f',"aborted":{_json(state[ABORTED])}'
    savings: list[Saving] | None = state.get(SAVINGS)
    if savings:
        ledger = [{"layer": s.layer, "chars": s.chars, "tokens": s.tokens} for s in savings]
        line += f',"savings":{_json(ledger)}'
    return line + "}"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


#: Nano-dollars below which a float of 53 bits knows each of them: half a million dollars.
_EXACT = 2**49


def _dollars(nano: int) -> str:
    """Nano-dollars as dollars, to the last of them."""
    if -_EXACT < nano < _EXACT:
        return f"{nano / 1e9:.9f}"
    whole, rest = divmod(nano, 10**9)
    return f"{whole}.{rest:09d}"


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))


@lru_cache(maxsize=256)
def _target(method: str, path: str) -> str:
    # A percent-decoded path may hold what JSON cannot (a lone surrogate).
    path = path if path.isascii() else path.encode("utf-8", "replace").decode()
    return f'"method":{_json(method)},"path":{_json(path)}'


@lru_cache(maxsize=256)
def _source(provider: str, model: str, stream: bool) -> str:
    return f',"provider":{_json(provider)},"model":{_json(model)},"stream":{_json(stream)}'


@lru_cache(maxsize=256)
def _caller(project: str, key_id: str) -> str:
    return f',"project":{_json(project)},"key_id":{_json(key_id)}'
