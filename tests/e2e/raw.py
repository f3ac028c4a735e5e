"""Requests to ``/v1/messages`` of which nothing is parsed, on either side."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

from .gateway import KEY

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
PLAIN: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Hello"}],
}
#: Headers of Claude's that are a caller's business, and such as are not.
LIMITS = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-tokens-reset": "2026-11-23T21:00:00Z",
}
THEIR_OWN = {
    "set-cookie": "canary=1; Path=/",
    "server": "canary",
    "cf-ray": "canary",
    "cf-cache-status": "canary",
    "via": "1.1 canary",
    "anthropic-organization-id": "canary",
    "anthropic-ratelimit-unified-status": "canary",
    "x-robots-tag": "canary",
    "strict-transport-security": "max-age=1; canary",
    "access-control-allow-origin": "https://canary.example",
}


def post(
    origin: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and every byte of the answer; nothing here reads JSON or events."""
    connection = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=20)
    try:
        sent = {"x-api-key": KEY, "content-type": "application/json", "anthropic-version": "2026-10-21"}
        connection.request("POST", path, body, {**sent, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()
