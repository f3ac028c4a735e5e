"""Redis: reachable, recent enough, and willing to be written to.

Asked with short time-outs and no retries: redis-py's defaults take a minute to say that a server hangs.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .clock import reading
from .context import Context
from .report import Section
from .stores import PATIENCE, SLOW_MS, place_of, root_of, unreachable
from .upstreams import is_public

#: Redis 6.2 (2021) has everything that shared limits need: effects of scripts are replicated, so that a
#: script may ask for TIME and write.
NEEDED = (6, 2)


async def check(section: Section, context: Context) -> None:
    url = context.environ.get("REDIS_URL", "").strip()
    if not url:
        section.skip("REDIS_URL is not set: limits and what Claude thought are kept in each process.")
        return
    if url.startswith("redis://") and await is_public(url):
        section.warn(
            "REDIS_URL is not encrypted: the password can be read on its way through the internet.",
            "REDIS_URL=rediss://…, or a private network",
        )
    patience = min(PATIENCE, context.seconds)
    client = Redis.from_url(
        url,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    try:
        await _examine(section, context, client)
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        _explain(section, error, url)
    finally:
        await client.aclose()


async def _examine(section: Section, context: Context, client: Redis) -> None:
    await client.ping()
    started = time.perf_counter()
    await client.ping()
    latency = (time.perf_counter() - started) * 1000
    info: dict[str, Any] = await client.info()
    version = str(info.get("redis_version", ""))
    section.ok(f"Redis {version} answers in {latency:.1f} ms.")
    if latency > SLOW_MS:
        section.warn(f"{latency:.0f} ms for each command slows requests down.", "Run it near the gateway.")
    judge(section, info)
    sent = time.time()
    seconds, micros = await client.time()
    theirs = int(seconds) + int(micros) / 1e6
    context.readings.append(reading("Redis", theirs, sent=sent, received=time.time()))
    # Limits are kept by a script; the key is gone again at once, and after 10 s whatever happens.
    await client.eval(
        "redis.call('SET', KEYS[1], '1', 'EX', 10) return redis.call('DEL', KEYS[1])",
        1,
        f"gateway:doctor:{secrets.token_hex(8)}",
    )
    section.ok("Keys can be written, scripts can be run.")


def judge(section: Section, info: dict[str, Any]) -> None:
    """From ``INFO``: version, role, memory (https://redis.io/docs/latest/commands/info/)."""
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < NEEDED:
        section.fail(
            f"Redis {version} is too old: {'.'.join(map(str, NEEDED))} is needed.",
            "Upgrade Redis, or use Valkey (`docker run valkey/valkey`).",
        )
    policy, limit = info.get("maxmemory_policy"), info.get("maxmemory")
    if policy == "noeviction" and isinstance(limit, int) and limit > 0:
        section.warn(
            f"maxmemory-policy is noeviction: at {limit // 2**20} MiB Redis refuses to write.",
            "redis-cli CONFIG SET maxmemory-policy allkeys-lru",
        )
    elif policy is not None:
        shown = f"{limit // 2**20} MiB" if isinstance(limit, int) and limit > 0 else "not limited"
        section.ok(f"Memory {shown}, eviction {policy}.")


def _explain(section: Section, error: Exception, url: str) -> None:
    cause, place = root_of(error), place_of(url, 6379)
    # A Redis without TLS takes the beginning of a handshake for a command that has not ended yet.
    no_tls = "It may not speak TLS: try redis:// instead of rediss://. " if url.startswith("rediss:") else ""
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError) or _says(
        error, "WRONGPASS", "NOAUTH"
    ):
        section.fail(
            f"Redis at {place} refuses the password.", "REDIS_URL=redis://[user]:<password>@host:6379/0"
        )
    elif isinstance(error, exceptions.NoPermissionError):
        section.fail(
            "The user of REDIS_URL may not run a command that is needed.",
            "ACL SETUSER <user> ~gateway:* +@all -@dangerous +info",
        )
    elif isinstance(error, exceptions.OutOfMemoryError):
        section.fail("Redis is full and evicts nothing.", "redis-cli CONFIG SET maxmemory-policy allkeys-lru")
    elif isinstance(error, exceptions.ReadOnlyError):
        section.fail("This Redis is a replica, which nothing can be written to.", "REDIS_URL=<the primary>")
    elif isinstance(error, exceptions.BusyLoadingError):
        section.warn("Redis is still loading its data.", "Wait, then look again.")
    elif isinstance(error, exceptions.TimeoutError | TimeoutError):
        section.fail(
            f"Redis at {place} does not answer within {PATIENCE:g} s.",
            f'{no_tls}It hangs, or a firewall drops packets: `redis-cli -u "$REDIS_URL" ping`.',
        )
    else:
        unreachable(section, cause, error, place, "REDIS_URL", "`redis-server`, or `systemctl start redis`")


def _says(error: Exception, *codes: str) -> bool:
    return any(code in str(error) for code in codes)
