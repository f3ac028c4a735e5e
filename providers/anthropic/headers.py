"""Which headers pass between a caller and Claude. What is not named here stays behind: the caller's key,
cookies and addresses on the way up, the upstream's cookies and edge on the way down."""

from __future__ import annotations

from collections.abc import Iterable

from ..http.types import Header

#: Anthropic's own headers, what its SDKs say of themselves, and what Claude Code says of its session
#: (headers of claude-code 2.1.330 and of the anthropic SDK's ``_base_client.py``).
_UP = (b"anthropic-", b"x-stainless-", b"x-claude-code-", b"x-claude-remote-", b"x-anthropic-")
_UP_NAMES = frozenset((b"user-agent", b"x-app", b"x-client-app", b"x-client-request-id"))
#: Whose account pays is the operator's business: a caller neither chooses it nor is told.
_ACCOUNT = frozenset((b"anthropic-organization-id", b"anthropic-workspace-id"))
#: What is left of a subscription, which is the operator's: Claude Code shows it to its user as the user's own
#: (its protocol for gateways asks to leave it out).
_SUBSCRIPTION = b"anthropic-ratelimit-unified-"
#: Rate limits and all else that Anthropic says in its own name, and what steers the retries of clients
#: (https://platform.claude.com/docs/en/api/rate-limits#response-headers). ``request-id`` travels apart from
#: them, since every answer has one.
_DOWN_NAMES = frozenset((b"retry-after", b"retry-after-ms", b"x-should-retry"))


def upward(headers: Iterable[Header]) -> list[Header]:
    """Those of a caller's ``headers`` (names in lower case) that go along to Claude, in their order."""
    return [
        header
        for header in headers
        if (header[0].startswith(_UP) or header[0] in _UP_NAMES) and header[0] not in _ACCOUNT
    ]


def downward(headers: Iterable[Header]) -> tuple[Header, ...]:
    """Those of Claude's ``headers`` (names in lower case) that are the caller's business, in their order."""
    return tuple(
        header
        for header in headers
        if (header[0].startswith(b"anthropic-") or header[0] in _DOWN_NAMES)
        and header[0] not in _ACCOUNT
        and not header[0].startswith(_SUBSCRIPTION)
    )
