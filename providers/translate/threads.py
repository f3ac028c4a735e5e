"""Conversations that Anthropic's API keeps (``thread``, beta ``message-threads``), where nobody keeps any.

Anthropic's SDK asks for one of its own accord in every ``tool_runner``, and from then on sends only what is
new. Answered without it, such a request would be a conversation that has lost its beginning. Refused as the
API refuses what it cannot keep, the SDK sends all of it again, and goes on without a thread
(``anthropic/lib/threads/_thread_state.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BadRequest

#: What the SDK acts on (``anthropic.types.ThreadUnsupportedRequestErrorDetails``).
CODE = "thread_unsupported_request"
_MESSAGE = "This model keeps no threads: leave `thread` out and send the whole conversation in `messages`."


def check_unthreaded(body: Mapping[str, Any]) -> None:
    """Raises ``BadRequest`` for a Messages request that is to be kept as a thread, or goes on with one."""
    if body.get("thread") is not None:
        error = {"type": "invalid_request_error", "message": _MESSAGE, "details": {"error_code": CODE}}
        raise BadRequest(_MESSAGE, param="thread", code=CODE, upstream_error=error)
