"""``DATABASE_URL`` as libpq reads it, for asyncpg, which knows most of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

if TYPE_CHECKING:
    import asyncpg  # type: ignore[import-untyped,unused-ignore]

APPLICATION = "claude-gateway"
#: Seconds for connecting, TLS and the password's exchange together.
CONNECT_SECONDS = 5.0
#: Parameters of libpq that asyncpg would pass to the server as settings, which then refuses the connection
#: (PostgreSQL 18, 32.1.2), and those that Prisma's URLs carry. ``channel_binding``: asyncpg has none.
_CLIENT_ONLY = re.compile(
    "channel_binding|client_encoding|connect_timeout|connection_limit|fallback_application_name|gssdelegation"
    "|gssencmode|hostaddr|keepalives.*|load_balance_hosts|m(?:ax|in)_protocol_version|pgbouncer|pool_timeout"
    "|requirepeer|requiressl|require_auth|schema|socket_timeout|sslcertmode|sslcompression|sslcrldir|sslsni"
    "|statement_cache_size|tcp_user_timeout"
)


@dataclass(slots=True, frozen=True)
class Address:
    """A URL that asyncpg reads and how long to wait for it, in seconds."""

    url: str = field(repr=False)
    patience: float = CONNECT_SECONDS

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ``ValueError``, without any of ``url`` in it."""
        try:
            parts = urlsplit(url)
            query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
            _ = parts.port
            if parts.fragment:  # the rest of a password with a # in it
                raise ValueError
            given = dict(query)
            patience = float(given.get("connect_timeout") or CONNECT_SECONDS)
        except ValueError:
            raise ValueError(
                "DATABASE_URL cannot be read: postgresql://user:password@host:5432/database, with / @ : ? # "
                "in a password as %2F %40 %3A %3F %23."
            ) from None
        kept = {"application_name": APPLICATION, **{k: v for k, v in query if not _CLIENT_ONLY.fullmatch(k)}}
        # libpq: 0 and less is without end, which nothing here is.
        seconds = patience if 0 < patience < CONNECT_SECONDS else CONNECT_SECONDS
        return cls(parts._replace(query=urlencode(kept)).geturl(), seconds)

    async def connect_to(self, seconds: float) -> asyncpg.Connection:
        """A connection whose statements may take ``seconds``, as may connecting. Raises what asyncpg does,
        ``OSError`` and ``TimeoutError``."""
        import asyncpg

        # Both are floats in its documentation; its code has no annotations.
        times: dict[str, Any] = {"timeout": min(self.patience, seconds), "command_timeout": seconds}
        opened = await asyncpg.connect(self.url, server_settings={"timezone": "UTC"}, **times)
        return cast("asyncpg.Connection", opened)
