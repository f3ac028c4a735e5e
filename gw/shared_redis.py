"""The one Redis that everything in a worker shares (``REDIS_URL``)."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

#: Connections of one worker. A command takes a fraction of a millisecond: they are seldom all in use.
MAX_CONNECTIONS = 16
#: Seconds. The driver's own defaults let a command on a server that hangs take a minute.
CONNECT_TIMEOUT = 1.0
COMMAND_TIMEOUT = 1.0
#: Seconds to wait for a free connection.
POOL_TIMEOUT = 0.1


def open_redis(url: str) -> Redis:
    """A client that gives bytes, retries nothing and connects when it is first used. Whoever opens it closes
    it with ``aclose``."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=POOL_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=COMMAND_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        client_name="claude-gateway",
    )
    return Redis.from_pool(pool)  # closes the pool with itself
