"""What happened to each request: its id, one line in the access log, the metrics.

Reads:   header ``x-request-id``; when the request is over, ``state["gateway.completion"]``,
         ``.principal``, ``.savings`` and ``.aborted``
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
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import orjson

from ._asgi import ASGIApp, Message, Receive, Scope, Send, header, with_state
from ._metrics import Metrics
from ._reject import OnReject, Rejection, reject_json
from ._state import ABORTED, COMPLETION, PRINCIPAL, REQUEST_ID, SAVINGS, Completion

_log = logging.getLogger(__name__)
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
#: Characters of a path in the log; nobody's route is longer, and an attacker's would fill the disk.
_MAX_PATH = 256
#: nginx's status for "the client left before the answer was complete".
_CLIENT_CLOSED = 499
_ABORTED_STATUS = {"deadline": 504, "shutdown": 503}


class TelemetryMiddleware:
    """Gives every request an id and records how it ended.

    ``metrics``: where to count (None: nowhere). ``access_log``: one JSON line per request at INFO on
    ``logger``. ``gateway``: the value of the ``x-gateway`` response header. An exception from below
    becomes a 500 without details, logged with the request id; once the answer has begun it is raised
    on, so that the server drops the connection and nobody takes the fragment for an answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics | None = None,
        access_log: bool = True,
        logger: logging.Logger | None = None,
        gateway: str = "claude-gateway",
        on_reject: OnReject = reject_json,
    ) -> None:
        self.app = app
        self._metrics = metrics
        self._access_log = access_log
        self._logger = logger or logging.getLogger("gateway.access")
        self._gateway = (b"x-gateway", gateway.encode("latin-1"))
        self._on_reject = on_reject

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        scope, state = with_state(scope)
        given = header(scope["headers"], b"x-request-id")
        raw_id = given if given and _SANE_ID(given) else b"req_" + os.urandom(12).hex().encode()
        state[REQUEST_ID] = request_id = raw_id.decode("ascii")
        answer = _Answer(send, (b"x-request-id", raw_id), self._gateway)
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
                self._record(scope, state, answer, began)
            except Exception:  # noqa: BLE001 - an answer is worth more than its record
                _log.warning("request %s went unrecorded", request_id, exc_info=True)

    def _record(self, scope: Scope, state: dict[str, Any], answer: _Answer, began: float) -> None:
        seconds = (answer.ended or perf_counter()) - began
        completion: Completion | None = state.get(COMPLETION)
        aborted: str | None = state.get(ABORTED)
        status = answer.status or 500  # an application that returns without answering
        if aborted is not None:
            status = _ABORTED_STATUS.get(aborted, _CLIENT_CLOSED)
        ttft = None
        if completion is not None and completion.first_token_at is not None:
            ttft = max(completion.first_token_at - began, 0.0)
        if self._metrics is not None:
            self._metrics.observe(completion, status, seconds, ttft)
        if self._access_log and self._logger.isEnabledFor(logging.INFO):
            line = _line(scope, state, status, seconds, ttft).decode()
            # What logger.info() does, without walking the stack for a caller that is always this line.
            log = self._logger
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

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            kept = [h for h in message.get("headers", ()) if h[0].lower() != b"x-request-id"]
            await self._send({**message, "headers": [*kept, *self._marks]})
            return
        await self._send(message)
        if kind == "http.response.body" and not message.get("more_body", False):
            self.ended = perf_counter()


def _line(scope: Scope, state: dict[str, Any], status: int, seconds: float, ttft: float | None) -> bytes:
    """One JSON object; what is not known is left out."""
    path: str = scope["path"][:_MAX_PATH]
    entry: dict[str, Any] = {
        "time": datetime.now(UTC),
        "request_id": state[REQUEST_ID],
        "method": scope["method"][:16],
        # A percent-decoded path may hold what JSON cannot (a lone surrogate).
        "path": path if path.isascii() else path.encode("utf-8", "replace").decode(),
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
    }
    if ttft is not None:
        entry["ttft_ms"] = round(ttft * 1000, 3)
    completion: Completion | None = state.get(COMPLETION)
    if completion is not None:
        entry["provider"] = completion.provider
        entry["model"] = completion.model
        entry["stream"] = completion.stream
        entry["input_tokens"] = completion.input_tokens
        entry["output_tokens"] = completion.output_tokens
        entry["cache_read_tokens"] = completion.cache_read_tokens
        entry["cache_write_tokens"] = completion.cache_write_tokens
        entry["reasoning_tokens"] = completion.reasoning_tokens
        if completion.upstream_error is not None:
            entry["upstream_error"] = "/".join(completion.upstream_error)
    principal = state.get(PRINCIPAL)
    if principal is not None:
        entry["project"] = principal.project
        entry["key_id"] = principal.key_id
    if ABORTED in state:
        entry["aborted"] = state[ABORTED]
    savings = state.get(SAVINGS)
    if savings:
        entry["savings"] = [{"layer": s.layer, "chars": s.chars, "tokens": s.tokens} for s in savings]
    return orjson.dumps(entry, option=orjson.OPT_UTC_Z)
