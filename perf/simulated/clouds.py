"""Claude as Bedrock and Vertex AI serve it: the same answers behind other paths, keys and spellings.

Bedrock's Messages endpoint (``/anthropic/v1/messages``) spells models ``anthropic.claude-…``; Vertex AI puts
the model into the path and the API version into the body. What the anthropic SDK's own clients send
(``anthropic/lib/bedrock/_mantle.py``, ``anthropic/lib/vertex/_client.py``) is the truth for both.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import orjson

from .ledger import Received
from .program import Program, refuse
from .refusal import RefusedError, invalid, refusal_of
from .scenario import Scenario

_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"
_VERTEX = re.compile(
    r"/v1/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/([^/:]+):(streamRawPredict|rawPredict)"
)


class _Cloud(ABC):
    """Checks what is the cloud's own, then asks the simulated Messages API."""

    prefix = ""

    def __init__(self, strict: bool) -> None:
        from .api import Api  # which mounts this

        self._api = Api(strict=strict, mounts=())

    def handle(self, received: Received, path: str, scenario: Scenario | None) -> Program:
        try:
            inner = self._as_messages(received, path)
        except RefusedError as refused:
            return refuse(refused.refusal)
        if scenario is not None:
            self._api.script([replace(scenario, path=inner.path)])
        return self._api.handle(inner)

    @abstractmethod
    def _as_messages(self, received: Received, path: str) -> Received:
        """The same request to the Messages API. Raises ``RefusedError``."""


class Bedrock(_Cloud):
    """``POST /anthropic/v1/messages`` and ``…/count_tokens`` below it."""

    prefix = "/anthropic/"

    def _as_messages(self, received: Received, path: str) -> Received:
        _check_authorization(received, ("Bearer ", "AWS4-HMAC-SHA256 "))
        inner = path.removeprefix("/anthropic")
        if inner not in (_MESSAGES, _COUNT) or received.method != "POST":
            raise RefusedError(refusal_of(404, "Not found"))
        body = _body(received)
        model = body.get("model")
        if not isinstance(model, str) or not model.startswith("anthropic."):
            raise RefusedError(refusal_of(404, f"model: {model}"))
        return _messages(received, inner, {**body, "model": model.removeprefix("anthropic.")}, {})


class Vertex(_Cloud):
    """``POST /v1/projects/…/publishers/anthropic/models/…:streamRawPredict``; tokens are counted by a model
    called ``count-tokens``, the model itself being in the body."""

    prefix = "/v1/projects/"

    def _as_messages(self, received: Received, path: str) -> Received:
        _check_authorization(received, ("Bearer ",))
        match = _VERTEX.fullmatch(path)
        if match is None or received.method != "POST":
            raise RefusedError(refusal_of(404, "Not found"))
        body = _body(received)
        version = body.pop("anthropic_version", None)
        if not isinstance(version, str):
            raise invalid("anthropic_version: Field required")
        headers = {"anthropic-version": version}
        if match[1] == "count-tokens":
            return _messages(received, _COUNT, body, headers)
        if "model" in body:
            raise invalid("model: Extra inputs are not permitted")
        if (body.get("stream") is True) != (match[2] == "streamRawPredict"):
            raise invalid(f"stream: does not fit {match[2]}")
        return _messages(received, _MESSAGES, {"model": match[1], **body}, headers)


def _check_authorization(received: Received, schemes: tuple[str, ...]) -> None:
    if not received.raw_headers.get("authorization", "").startswith(schemes):
        raise RefusedError(refusal_of(401, "Missing or invalid credentials"))


def _body(received: Received) -> dict[str, Any]:
    try:
        body = orjson.loads(received.raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise invalid("The request body is not a JSON object")
    return body


def _messages(received: Received, path: str, body: dict[str, Any], headers: dict[str, str]) -> Received:
    own = {name: value for name, value in received.raw_headers.items() if name != "authorization"}
    return Received(
        "POST", path, {**own, "x-api-key": "cloud", **headers}, orjson.dumps(body), received.request_id
    )
