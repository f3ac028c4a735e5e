"""The start-up summary: what is on, what is off and why."""

from __future__ import annotations

from .. import __version__
from ..settings import Cloud, Compatible, Local, Settings, fingerprint
from ..variables import unbuilt


def summary(settings: Settings, environ: dict[str, str]) -> str:
    """One line per concern; keys are masked; what is accepted but not built yet is named."""
    server, keys, claude, limits = settings.server, settings.keys, settings.claude, settings.limits
    lines = [
        f"claude-gateway {__version__} on {url(settings)}, {server.workers} worker(s), "
        f"upstream transport: {settings.upstream.transport}",
        _on("auth", f"GATEWAY_API_KEY {fingerprint(keys.gateway)}"),
    ]
    if len(keys.gateway) < 24 and not settings.simulated:
        lines.append("        ! GATEWAY_API_KEY is short: `openssl rand -hex 32` makes a better one")
    if settings.simulated:
        lines.append(_on("simulated", "answers every claude-* model; no key, no network"))
    elif claude.api_key is None:
        lines.append(_off("claude", "ANTHROPIC_API_KEY is not set: claude-* models answer 500"))
    else:
        lines.append(_on("claude", f"{claude.base_url}, ANTHROPIC_API_KEY {fingerprint(claude.api_key)}"))
    lines.append(
        _on("aliases", f"sonnet = {claude.sonnet}, opus = {claude.opus}, haiku = {claude.haiku}"),
    )
    lines.append(_local(settings.local))
    lines += [
        *(_compatible(compatible) for compatible in settings.compatible),
        *(_cloud(cloud) for cloud in settings.clouds),
    ] or [_off("others", "no OPENAI_COMPATIBLE_<NAME>_BASE_URL, BEDROCK_REGION or VERTEX_PROJECT_ID is set")]
    lines.append(
        _on("rate limit", f"{limits.rpm} requests/minute per key, {_share(settings)}")
        if limits.rate_limit
        else _off("rate limit", "RATE_LIMIT_ENABLED=0")
    )
    lines.append(
        _on(
            "limits",
            f"system {limits.system_chars:,}, user message {limits.user_chars:,}, tool result "
            f"{limits.tool_result_chars:,} characters; "
            f"{limits.default_max_tokens:,} output tokens by default",
        )
    )
    lines.append(
        _on("keep-alive", f"streams are silent for {server.keep_alive:g} s at most")
        if server.keep_alive
        else _off("keep-alive", "SSE_KEEPALIVE_SECONDS=0")
    )
    lines.append(
        _on("cors", ", ".join(server.cors_origins))
        if server.cors_origins
        else _off("cors", "CORS_ORIGINS is not set: web pages of other origins may not call")
    )
    if settings.simulated or claude.api_key is not None or settings.clouds:
        lines.append(
            _on("thinking", f"what Claude thought is kept for clients that drop it, {_kept(settings)}")
        )
    if not server.metrics:
        lines.append(_off("metrics", "PROMETHEUS_ENABLED=0"))
    elif keys.admin is None:
        lines.append(_off("metrics", "/admin/metrics is closed: ADMIN_API_KEY is not set"))
    else:
        lines.append(_on("metrics", f"/admin/metrics, ADMIN_API_KEY {fingerprint(keys.admin)}"))
    lines.append("  not built yet (accepted, without effect):")
    for feature, chosen in unbuilt(environ):
        lines.append(f"        - {feature}" + (f"  <- you set {', '.join(chosen)}" if chosen else ""))
    return "\n".join(lines)


def _share(settings: Settings) -> str:
    """Who counts the requests: each worker does for itself."""
    workers = settings.server.workers
    if workers == 1:
        return "in this process"
    return f"in {workers} shares of {settings.limits.rpm / workers:g}, one for each worker"


def _kept(settings: Settings) -> str:
    if settings.state.redis_url is not None:
        return "in Redis (REDIS_URL)"
    return "in this process" if settings.server.workers == 1 else "by each worker: REDIS_URL is not set"


def _local(local: Local) -> str:
    if local.base_url is None:
        return _off("local models", "LOCAL_LLM_BASE_URL is not set: local:<model> answers 500")
    access = "no" if local.access_id is None else "yes"
    return _on(
        "local models",
        f"{local.base_url}, local = {local.default_model}, {len(local.allowlist)} allowed, "
        f"{local.timeout:g} s of silence, Cloudflare Access: {access}",
    )


def _compatible(one: Compatible) -> str:
    allowed = f"{len(one.models)} allowed" if one.models else "all its models"
    key = "without a key" if one.api_key is None else f"key {fingerprint(one.api_key)}"
    return _on(one.name, f"{one.base_url}, {one.name}:<model>, {allowed}, {key}")


def _cloud(one: Cloud) -> str:
    where = one.region if one.project is None else f"{one.project}, {one.region}"
    allowed = f"{len(one.models)} allowed" if one.models else "all its models"
    key = "the cloud's own credentials" if one.api_key is None else f"key {fingerprint(one.api_key)}"
    return _on(one.name, f"{where}, {one.name}:<model>, {allowed}, {key}")


def url(settings: Settings) -> str:
    """Where a client on this machine reaches the gateway."""
    host = settings.server.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return (
        f"http://[{host}]:{settings.server.port}" if ":" in host else f"http://{host}:{settings.server.port}"
    )


def _on(name: str, text: str) -> str:
    return f"  on    {name:<12} {text}"


def _off(name: str, text: str) -> str:
    return f"  off   {name:<12} {text}"
