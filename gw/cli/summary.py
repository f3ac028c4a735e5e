"""The start-up summary: what is on, what is off and why."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from .. import __version__
from ..settings import Cloud, Compatible, Ledger, Local, Settings, fingerprint
from ..store.place import DataDirError, data_dir, is_lasting
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
    lines += _ledger(settings)
    where = "" if server.admin_port is None else f" on port {server.admin_port}"
    if not server.metrics:
        lines.append(_off("metrics", "PROMETHEUS_ENABLED=0"))
    elif keys.admin is None:
        lines.append(_off("metrics", "/admin/metrics is closed: ADMIN_API_KEY is not set"))
    else:
        lines.append(_on("metrics", f"/admin/metrics{where}, ADMIN_API_KEY {fingerprint(keys.admin)}"))
    if server.admin_port is not None:
        lines.append(_on("admin port", f"{server.admin_port}: /admin is there, and not on {server.port}"))
    lines.append(
        _on("otel", f"traces and metrics to {settings.otlp_endpoint}")
        if settings.otlp_endpoint is not None
        else _off("otel", "OTEL_EXPORTER_OTLP_ENDPOINT is not set")
    )
    lines.append("  not built yet (accepted, without effect):")
    for feature, chosen in unbuilt(environ):
        lines.append(f"        - {feature}" + (f"  <- you set {', '.join(chosen)}" if chosen else ""))
    return "\n".join(lines)


def _ledger(settings: Settings) -> list[str]:
    """Where usage goes, by whose prices, for whom."""
    books, projects = settings.ledger, settings.projects
    if not books.enabled:
        return [_off("ledger", "LEDGER_ENABLED=0: nobody writes down what requests cost")]
    lines = [_on("ledger", _database(books))]
    if (place := _place(books)) is not None and not is_lasting(place):
        lines.append(
            f"        ! {place} may be emptied by a restart: name a directory that lasts in DATA_DIR"
        )
    public = "public prices (genai-prices)"
    lines.append(
        _on("prices", public if books.prices_file is None else f"{books.prices_file}, then {public}")
    )
    lines.append(
        _on("projects", "keys, limits and budgets of their own; GATEWAY_API_KEY is the project default")
        if projects.enabled
        else _off("projects", "ENABLE_MULTI_PROJECT=0: all usage is the project default's")
    )
    return lines


def _database(books: Ledger) -> str:
    """The file, or the host; never the password."""
    url = books.database
    if url is None:
        place = _place(books)
        return "SQLite" if place is None else f"SQLite, {place / 'gateway.db'}"
    if url.startswith("sqlite:"):
        return f"SQLite, {url.removeprefix('sqlite:///')}"
    try:
        parts = urlsplit(url)
        host, port, name = parts.hostname, parts.port, parts.path.strip("/")
    except ValueError:
        return "PostgreSQL (DATABASE_URL)"
    return f"PostgreSQL at {host or 'localhost'}:{port or 5432}" + (f", database {name}" if name else "")


def _place(books: Ledger) -> Path | None:
    try:
        return data_dir(books)
    except DataDirError:  # the start ends with it; `gw serve --check` has said so
        return None


def _share(settings: Settings) -> str:
    """Who counts the requests: Redis for all, or each worker for itself."""
    workers = settings.server.workers
    if settings.state.redis_url is not None:
        return "in Redis (REDIS_URL), for all workers and machines"
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
