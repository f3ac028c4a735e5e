"""Provider errors → refusals in the caller's dialect. The only place that does this."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from middleware._reject import Dialect, Rejection
from providers.errors import ProviderError, Timeout

from .settings import Settings

#: Shorter ones are placeholders, such as vLLM's EMPTY, and words that messages use.
_MIN_SECRET = 8
#: Seconds that a client may be asked to sleep; openai's SDK gives up on a longer ``retry-after`` too
#: (``MAX_RETRY_AFTER_DELAY`` there), anthropic's would sleep for years.
PATIENCE = 120.0
#: Said by ``ProviderError.retry_after``, within bounds.
_BOUNDED = frozenset({b"retry-after", b"retry-after-ms"})
#: What is a secret is one everywhere in this process; the longest first.
_secrets: tuple[str, ...] = ()


def hide_secrets(settings: Settings) -> None:
    """Keep every key of ``settings`` out of what callers, logs and metrics are told of an upstream's
    errors, even where an upstream (or a proxy before it) repeats the head of the request."""
    global _secrets
    keys, local = settings.keys, settings.local
    found = {keys.gateway, keys.admin, settings.claude.api_key, local.access_id, local.access_secret}
    found |= {one.api_key for one in settings.compatible} | {cloud.api_key for cloud in settings.clouds}
    found |= {settings.projects.pepper}
    for url in (settings.state.redis_url, settings.ledger.database):
        if url is not None:
            found |= {url, urlsplit(url).password}
    kept = {secret for secret in found if secret is not None and len(secret) >= _MIN_SECRET}
    _secrets = tuple(sorted(kept.union(_secrets), key=len, reverse=True))


def without_secrets(text: str) -> str:
    """``text`` with what :func:`hide_secrets` was told of left out."""
    for secret in _secrets:
        text = text.replace(secret, "…")
    return text


def one_line(text: str) -> str:
    """``text`` of an upstream as a log and a terminal may show it: it can neither begin a line of its own nor
    move the cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def rejection_of(error: ProviderError, dialect: Dialect = "openai") -> Rejection:
    """What the caller is told. The message never carries the gateway's own keys or URLs.

    A caller of Anthropic's dialect gets what Claude itself has said as it was said: the error object, the
    request id, rate limits, and the status where it is neither about the gateway's key (401, 403) nor a
    failure behind the gateway (5xx, but 529 is kept).
    """
    headers = {
        name: value
        for name, value in error.upstream_headers
        if name not in _BOUNDED and (dialect == "anthropic" or name == b"x-should-retry")
    }
    status, said = error.status, None
    if dialect == "anthropic":
        if error.upstream_request_id:
            headers[b"request-id"] = error.upstream_request_id.encode("latin-1", "replace")
        if error.upstream_error is not None:
            said = _mapped(error.upstream_error, without_secrets)
            if error.upstream_status is not None and _is_kept(error.upstream_status):
                status = error.upstream_status
    if error.retry_after is not None and math.isfinite(error.retry_after):
        headers[b"retry-after"] = str(max(1, math.ceil(error.retry_after))).encode()
    if is_final(error):
        headers.setdefault(b"x-should-retry", b"false")
    return Rejection(
        status=status,
        message=without_secrets(error.message),
        type=error.type,
        code=without_secrets(error.code),
        param=error.param and without_secrets(error.param),
        headers=tuple(headers.items()),
        anthropic=said,
    )


def is_final(error: ProviderError) -> bool:
    """Whether the client's repeating the request could only do harm. Both SDKs retry 408, 409, 429 and 5xx
    of their own accord, and obey ``x-should-retry: false`` before their own rules (``_should_retry`` in the
    ``_base_client.py`` of each).

    Final is what is wrong with the request or the operator's set-up, also where it is shown as a 5xx (the
    gateway's key was refused); a limit that will not be lifted while anybody waits; and an answer that has
    used up all the time there is, since the next one would do so too, at the same price.
    """
    if not error.retryable or (error.retry_after or 0) > PATIENCE:
        return True
    return isinstance(error, Timeout) and error.stage == "total"


def _is_kept(status: int) -> bool:
    return 400 <= status < 500 or status == 529


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """``value`` (parsed JSON) with ``change`` made to all its texts."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _mapped(item, change) for name, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, list) else value
