"""Every environment variable of the gateway in one table: name, default, group and meaning.

``gw serve --help``, the start-up summary, ``docs/settings.md`` and the parser in ``settings.py`` all
read this table, so a default is written down once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import wrap

DEFAULT_LOCAL_ALLOWLIST = (
    "qwen2.5-coder:14b-instruct,qwen2.5-coder:7b-instruct,qwen2.5-coder:32b-instruct,"
    "qwen2.5:14b,qwen2.5:7b,llama3.2:latest,llama3.1:8b,codellama:13b,deepseek-coder:6.7b,"
    "deepseek-coder-v2:16b"
)


@dataclass(slots=True, frozen=True)
class Variable:
    """One setting. ``default`` is the text that the environment would hold; None means unset.

    ``feature`` names what is not built yet behind the variable: it is accepted and validated now, and
    listed at start-up so that it is never silently ignored.
    """

    name: str
    default: str | None
    help: str
    group: str
    secret: bool = False
    feature: str | None = None


def _v(
    group: str, name: str, default: str | None, text: str, *, secret: bool = False, feature: str | None = None
) -> Variable:
    return Variable(name, default, text, group, secret, feature)


_CACHE = "response cache"
_ROUTING = "smart routing"
_CASCADE = "cascade routing"

VARIABLES: tuple[Variable, ...] = (
    _v("Server", "HOST", "127.0.0.1", "address to listen on (0.0.0.0 for every interface)"),
    _v("Server", "PORT", "8080", "port to listen on"),
    _v("Server", "WEB_CONCURRENCY", "1", "worker processes"),
    _v("Server", "LOG_LEVEL", "info", "`debug`, `info`, `warning` or `error`"),
    _v("Server", "DRAIN_TIMEOUT_SECONDS", "30", "how long running answers may finish after SIGTERM"),
    _v("Server", "MAX_BODY_BYTES", "33554432", "largest request body (32 MiB, as the Claude API)"),
    _v("Server", "BODY_TIMEOUT_SECONDS", "30", "a body that takes longer to arrive is answered 408"),
    _v("Server", "PROMETHEUS_ENABLED", "1", "metrics at /admin/metrics"),
    _v(
        "Server",
        "SSE_KEEPALIVE_SECONDS",
        "15",
        "longest silence of a stream before a comment, or Anthropic's ping, is sent (0: off)",
    ),
    _v(
        "Server",
        "CORS_ORIGINS",
        None,
        "comma list of origins whose web pages may call, as in https://chat.example.com (unset: none)",
    ),
    _v("Keys", "GATEWAY_API_KEY", None, "required: the key that clients send", secret=True),
    _v("Keys", "ADMIN_API_KEY", None, "key of /admin; without it /admin is closed", secret=True),
    _v("Claude", "ANTHROPIC_API_KEY", None, "key for the Claude API", secret=True),
    _v("Claude", "ANTHROPIC_BASE_URL", "https://api.anthropic.com", "where the Claude API is"),
    _v("Claude", "DEFAULT_MODEL", "claude-sonnet-5-5", "what the alias `sonnet` means"),
    _v("Claude", "OPUS_MODEL", "claude-opus-5-5", "what the alias `opus` means"),
    _v("Claude", "HAIKU_MODEL", "claude-haiku-5-5", "what the alias `haiku` means"),
    _v(
        "Claude",
        "ENABLE_ANTHROPIC_CACHE_CONTROL",
        "1",
        "mark prompts for Claude's prompt cache when the client does not",
        feature="automatic prompt-cache markers",
    ),
    _v("Local models", "LOCAL_LLM_BASE_URL", None, "Ollama's address, for example http://127.0.0.1:11434"),
    _v(
        "Local models",
        "LOCAL_LLM_DEFAULT_MODEL",
        "qwen2.5-coder:14b-instruct",
        "what `local` means (else the first that is allowed)",
    ),
    _v(
        "Local models",
        "LOCAL_LLM_MODEL_ALLOWLIST",
        DEFAULT_LOCAL_ALLOWLIST,
        "comma list of the models that may be asked for",
    ),
    _v("Local models", "LOCAL_LLM_MAX_CONTEXT", None, "largest num_ctx in tokens (unset: the model's own)"),
    _v("Local models", "LOCAL_LLM_TIMEOUT_SECONDS", "120", "how long a local model may be silent"),
    _v(
        "Local models",
        "LOCAL_CF_ACCESS_CLIENT_ID",
        None,
        "id of a Cloudflare Access service token, if Ollama is behind one",
        secret=True,
    ),
    _v(
        "Local models",
        "LOCAL_CF_ACCESS_CLIENT_SECRET",
        None,
        "its secret",
        secret=True,
    ),
    _v(
        "Other providers",
        "OPENAI_COMPATIBLE_<NAME>_BASE_URL",
        None,
        "an OpenAI-compatible API; its models are `<name>:<model>`",
    ),
    _v("Other providers", "OPENAI_COMPATIBLE_<NAME>_API_KEY", None, "its key, if it wants one", secret=True),
    _v(
        "Other providers",
        "OPENAI_COMPATIBLE_<NAME>_MODELS",
        None,
        "comma list of the models that may be asked for (unset: all)",
    ),
    _v("Clouds", "BEDROCK_REGION", None, "Claude on Amazon Bedrock; its models are `bedrock:<model>`"),
    _v("Clouds", "BEDROCK_API_KEY", None, "a Bedrock API key (unset: the AWS credentials)", secret=True),
    _v("Clouds", "BEDROCK_MODELS", None, "comma list of the models that may be asked for (unset: all)"),
    _v("Clouds", "BEDROCK_BASE_URL", None, "another address, for example of a VPC endpoint"),
    _v("Clouds", "VERTEX_PROJECT_ID", None, "Claude on Google Vertex AI; its models are `vertex:<model>`"),
    _v("Clouds", "VERTEX_REGION", "global", "its region"),
    _v("Clouds", "VERTEX_MODELS", None, "comma list of the models that may be asked for (unset: all)"),
    _v("Clouds", "VERTEX_BASE_URL", None, "another address, ending in /v1"),
    _v("Limits", "SYSTEM_MAX_CHARS", "40000", "longer system prompts keep their head and tail (0: off)"),
    _v("Limits", "USER_MSG_MAX_CHARS", "120000", "the same for one user message"),
    _v("Limits", "TOOL_RESULT_MAX_CHARS", "20000", "the same for one tool result"),
    _v("Limits", "DEFAULT_MAX_TOKENS", "1200", "visible output tokens when the client names none"),
    _v("Limits", "RATE_LIMIT_ENABLED", "1", "limit requests per key"),
    _v("Limits", "RATE_LIMIT_RPM", "60", "requests per minute and key"),
    _v("Upstream", "UPSTREAM_CONNECT_TIMEOUT_SECONDS", "5", "TCP and TLS set-up"),
    _v(
        "Upstream",
        "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS",
        "120",
        "from the request to the head of a streamed response",
    ),
    _v("Upstream", "UPSTREAM_IDLE_TIMEOUT_SECONDS", "120", "between two pieces of an answer"),
    _v("Upstream", "UPSTREAM_TIMEOUT_SECONDS", "600", "the whole answer"),
    _v(
        "Upstream",
        "GATEWAY_HTTP_TRANSPORT",
        "engine",
        "`engine` (ours) or `httpx` (proxies, HTTP/2, debugging)",
    ),
    _v("Upstream", "UPSTREAM_CA_FILE", None, "PEM file of an extra certificate authority"),
    _v("Resilience", "RETRY_ENABLED", "1", "retry before the first byte", feature="retry"),
    _v("Resilience", "RETRY_MAX_ATTEMPTS", "2", "attempts in all", feature="retry"),
    _v("Resilience", "CIRCUIT_BREAKER_ENABLED", "1", "circuit breaker", feature="circuit breaker"),
    _v("Resilience", "CIRCUIT_BREAKER_THRESHOLD", "5", "failures that open it", feature="circuit breaker"),
    _v(
        "Resilience",
        "CIRCUIT_BREAKER_TIMEOUT",
        "60",
        "seconds until it is half-open",
        feature="circuit breaker",
    ),
    _v("Resilience", "FAILOVER_ENABLED", "0", "try other models when a provider is down", feature="failover"),
    _v("Resilience", "FAILOVER_MODELS", "", "comma list, in order", feature="failover"),
    _v("Savings", "STRIP_IDE_BOILERPLATE", "1", "strip IDE boilerplate", feature="boilerplate strip"),
    _v("Savings", "ENABLE_FILE_HASH_CACHE", "1", "dedup files read again", feature="file dedup"),
    _v("Savings", "ENFORCE_DIFF_FIRST", "1", "ask for diffs, not whole files", feature="diff-first"),
    _v("Savings", "ENABLE_RESPONSE_CACHE", "1", "exact response cache", feature=_CACHE),
    _v("Savings", "CACHE_TTL_SECONDS", "1800", "life of a cached answer", feature=_CACHE),
    _v("Routing", "ENABLE_SKILLS", "1", "X-Gateway-Skill", feature="skills"),
    _v("Routing", "ENABLE_SMART_ROUTING", "1", "`auto` picks a model", feature=_ROUTING),
    _v("Routing", "SMART_ROUTING_MODE", "local_first", "`local_first` or `keyword`", feature=_ROUTING),
    _v("Routing", "ENABLE_SEMANTIC_ROUTING_SIGNAL", "0", "embedding signal", feature=_ROUTING),
    _v("Routing", "ENABLE_CASCADE_ROUTING", "0", "cheap model first, escalate", feature=_CASCADE),
    _v(
        "Routing", "CASCADE_QUALITY_CHECK_MODE", "heuristic", "`heuristic`, `llm` or `none`", feature=_CASCADE
    ),
    _v("Routing", "CASCADE_MIN_RESPONSE_LENGTH", "100", "shorter answers escalate", feature=_CASCADE),
    _v("Routing", "CASCADE_LOG_OUTCOMES", "1", "keep outcomes", feature=_CASCADE),
    _v("Routing", "CASCADE_TIMEOUT_SECONDS", "60", "time for the cheap attempt", feature=_CASCADE),
    _v(
        "State",
        "REDIS_URL",
        None,
        "share limits and Claude's thinking between workers and replicas (later the cache, too)",
        secret=True,
    ),
    _v(
        "Ledger",
        "LEDGER_ENABLED",
        "1",
        "keep a row of every request: who asked what, tokens and dollars",
    ),
    _v(
        "Ledger",
        "DATA_DIR",
        None,
        "where the ledger is kept (unset: claude-gateway in $XDG_DATA_HOME or ~/.local/share)",
    ),
    _v(
        "Ledger",
        "DATABASE_URL",
        None,
        "PostgreSQL for several machines: postgresql://user:password@host/name (unset: SQLite in DATA_DIR)",
        secret=True,
    ),
    _v(
        "Ledger",
        "SPOOL_MAX_BYTES",
        "268435456",
        "how much is kept on disk for a database that is away (256 MiB)",
    ),
    _v(
        "Ledger",
        "SPOOL_WHEN_FULL",
        "refuse",
        "`refuse` requests that could not be recorded (503), or `serve` them without a row",
    ),
    _v("Ledger", "PRICES_FILE", None, "JSON file of prices that differ from the public ones"),
    _v("Projects", "ENABLE_MULTI_PROJECT", "0", "projects with keys, limits and budgets of their own"),
    _v(
        "Projects",
        "KEY_PEPPER",
        None,
        "secret under which keys are hashed; needed with DATABASE_URL (unset: a file in DATA_DIR)",
        secret=True,
    ),
    _v(
        "Projects",
        "BUDGET_WHEN_UNKNOWN",
        "refuse",
        "what happens to budgeted requests whose money cannot be reserved: `refuse` (503) or `allow`",
    ),
    _v("Observability", "ADMIN_PORT", None, "serve /admin on a port of its own, and nowhere else"),
    _v(
        "Observability",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "send traces and metrics to an OpenTelemetry collector (needs the extra `otel`)",
    ),
)

BY_NAME: dict[str, Variable] = {variable.name: variable for variable in VARIABLES}


_FAMILY = re.compile(r"OPENAI_COMPATIBLE_[A-Z0-9_]+_(BASE_URL|API_KEY|MODELS)")


def of(name: str) -> Variable:
    """The variable called ``name``; for one of a family (``OPENAI_COMPATIBLE_GROQ_API_KEY``) its row.

    Raises ``KeyError``.
    """
    if (found := BY_NAME.get(name)) is not None:
        return found
    match = _FAMILY.fullmatch(name)
    return BY_NAME[name if match is None else f"OPENAI_COMPATIBLE_<NAME>_{match[1]}"]


def unbuilt(environ: dict[str, str]) -> list[tuple[str, list[str]]]:
    """``(feature, variables that the operator has set)`` for what is accepted but not built yet."""
    features: dict[str, list[str]] = {}
    for variable in VARIABLES:
        if variable.feature is not None:
            chosen = features.setdefault(variable.feature, [])
            if environ.get(variable.name):
                chosen.append(variable.name)
    return list(features.items())


#: Characters of a default that is shown beside the help; column of one that is shown below it.
_LONG, _INDENT = 32, 39


def table(width: int = 100) -> str:
    """The variables as text for ``--help``, grouped, with their defaults, in lines of ``width`` columns."""
    room = width - _INDENT
    lines: list[str] = []
    group = ""
    for v in VARIABLES:
        if v.group != group:
            group = v.group
            lines += ["", f"{group}:"]
        later = " (not built yet)" if v.feature else ""
        default = v.default or ""
        shown = f" [{default}]" if 0 < len(default) <= _LONG else ""
        first, *rest = wrap(f"{v.help}{shown}{later}", room, break_on_hyphens=False)
        lines += [f"  {v.name:<37}{first}", *(" " * _INDENT + line for line in rest)]
        if len(default) > _LONG:  # a list: below, wrapped at its commas
            listed = f"[{default.replace(',', ', ')}]"
            lines += [" " * _INDENT + line for line in wrap(listed, room, break_on_hyphens=False)]
    return "\n".join(lines).lstrip("\n")


def markdown() -> str:
    """The same table for ``docs/settings.md``, which a test keeps true."""
    lines = [
        "# Settings",
        "",
        "Environment variables, or lines of a `.env` file (the environment wins). A wrong value stops the",
        "start and is named with its fix. *Not built yet* means: accepted and checked, without effect,",
        "listed at start-up. This page is written from `gw/variables.py`.",
    ]
    group = ""
    for v in VARIABLES:
        if v.group != group:
            group = v.group
            lines += ["", f"## {group}", "", "| variable | default | |", "|---|---|---|"]
        default = "-" if v.default in (None, "") else f"`{v.default}`"
        later = f" *Not built yet: {v.feature}.*" if v.feature else ""
        lines.append(f"| `{v.name}` | {default} | {v.help[0].upper()}{v.help[1:]}.{later} |")
    return "\n".join(lines) + "\n"
