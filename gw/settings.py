"""The environment, read once into frozen structs; every problem is named together with its fix.

Nothing else in the gateway reads ``os.environ``, and no middleware or provider ever sees a
settings object: ``gw/app.py`` hands each one the plain values it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ._reader import Reader
from ._upstream_families import Cloud as Cloud
from ._upstream_families import Compatible as Compatible
from ._upstream_families import read_clouds, read_compatible


class SettingsError(Exception):
    """One or more wrong values; ``problems`` holds one sentence each, naming variable and fix."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True, frozen=True)
class Server:
    host: str
    port: int
    workers: int
    log_level: str
    drain_seconds: float
    max_body_bytes: int
    body_timeout: float
    metrics: bool
    #: Seconds; 0 is off.
    keep_alive: float
    #: ``scheme://host[:port]``; none: web pages of other origins may not call.
    cors_origins: tuple[str, ...]
    #: A port on which /admin is served instead of ``port``.
    admin_port: int | None = None


@dataclass(slots=True, frozen=True)
class Keys:
    gateway: str = field(repr=False)
    admin: str | None = field(repr=False)


@dataclass(slots=True, frozen=True)
class Claude:
    api_key: str | None = field(repr=False)
    base_url: str
    sonnet: str
    opus: str
    haiku: str


@dataclass(slots=True, frozen=True)
class Local:
    base_url: str | None
    default_model: str
    allowlist: tuple[str, ...]
    timeout: float
    max_context: int | None
    #: Cloudflare Access service token: both or neither.
    access_id: str | None = field(repr=False)
    access_secret: str | None = field(repr=False)


@dataclass(slots=True, frozen=True)
class Limits:
    system_chars: int
    user_chars: int
    tool_result_chars: int
    default_max_tokens: int
    rate_limit: bool
    rpm: int


@dataclass(slots=True, frozen=True)
class Upstream:
    connect: float
    first_byte: float
    idle: float
    total: float
    transport: str
    ca_file: str | None


@dataclass(slots=True, frozen=True)
class State:
    """What outlives a request and is shared by processes: None, where each keeps its own."""

    redis_url: str | None = field(repr=False)


@dataclass(slots=True, frozen=True)
class Ledger:
    """``database`` is None: SQLite in ``data_dir``, which is None: the user's own data directory."""

    enabled: bool
    data_dir: str | None
    database: str | None = field(repr=False)
    spool_max_bytes: int
    #: 503 for requests that could not be recorded, rather than answers without a row.
    refuse_when_full: bool
    prices_file: str | None


@dataclass(slots=True, frozen=True)
class Projects:
    enabled: bool
    pepper: str | None = field(repr=False)
    #: 503 for requests of projects with a budget while no money can be reserved.
    refuse_when_unknown: bool


@dataclass(slots=True, frozen=True)
class Settings:
    """Everything the operator has chosen. ``simulated`` is true under ``gw demo``."""

    server: Server
    keys: Keys
    claude: Claude
    local: Local
    compatible: tuple[Compatible, ...]
    clouds: tuple[Cloud, ...]
    limits: Limits
    upstream: Upstream
    state: State
    ledger: Ledger
    projects: Projects
    #: An OpenTelemetry collector's address; None: nothing is exported.
    otlp_endpoint: str | None = None
    simulated: bool = False

    @property
    def looks_at_database(self) -> bool:
        """Whether it is opened and migrated at the start. SQLite for the ledger alone can wait until there is
        something to record: it takes half a second and 40 MB."""
        return self.projects.enabled or self.ledger.database is not None

    @property
    def slowest(self) -> float:
        """Seconds that the most patient upstream may take for a whole answer."""
        silence = 0.0 if self.local.base_url is None else self.local.timeout
        return max(self.upstream.total, silence)


def load(environ: Mapping[str, str], *, simulated: bool = False) -> Settings:
    """Parse ``environ``. Raises :class:`SettingsError` naming every wrong variable at once."""
    r = Reader(environ)
    allowed = r.models("LOCAL_LLM_MODEL_ALLOWLIST")
    settings = Settings(
        server=Server(
            host=r.text("HOST") or "",
            port=r.integer("PORT", 1, 65535),
            workers=r.integer("WEB_CONCURRENCY", 1, 256),
            log_level=r.choice("LOG_LEVEL", "debug", "info", "warning", "error"),
            drain_seconds=r.seconds("DRAIN_TIMEOUT_SECONDS"),
            max_body_bytes=r.integer("MAX_BODY_BYTES", 1024),
            body_timeout=r.seconds("BODY_TIMEOUT_SECONDS"),
            metrics=r.flag("PROMETHEUS_ENABLED"),
            keep_alive=r.seconds("SSE_KEEPALIVE_SECONDS", zero=True),
            cors_origins=r.origins("CORS_ORIGINS"),
            admin_port=r.optional_integer("ADMIN_PORT", 1, 65535),
        ),
        keys=Keys(
            gateway=r.own_key("GATEWAY_API_KEY", required=True) or "",
            admin=r.own_key("ADMIN_API_KEY", required=False),
        ),
        claude=Claude(
            api_key=r.credential("ANTHROPIC_API_KEY"),
            base_url=r.url("ANTHROPIC_BASE_URL") or "",
            sonnet=r.model("DEFAULT_MODEL"),
            opus=r.model("OPUS_MODEL"),
            haiku=r.model("HAIKU_MODEL"),
        ),
        local=Local(
            base_url=r.url("LOCAL_LLM_BASE_URL"),
            default_model=_local_default(r, allowed),
            allowlist=allowed,
            timeout=r.seconds("LOCAL_LLM_TIMEOUT_SECONDS"),
            max_context=r.optional_integer("LOCAL_LLM_MAX_CONTEXT", 2048),
            access_id=r.credential("LOCAL_CF_ACCESS_CLIENT_ID"),
            access_secret=r.credential("LOCAL_CF_ACCESS_CLIENT_SECRET"),
        ),
        compatible=read_compatible(r),
        clouds=read_clouds(r),
        limits=Limits(
            system_chars=r.integer("SYSTEM_MAX_CHARS", 0),
            user_chars=r.integer("USER_MSG_MAX_CHARS", 0),
            tool_result_chars=r.integer("TOOL_RESULT_MAX_CHARS", 0),
            default_max_tokens=r.integer("DEFAULT_MAX_TOKENS", 1),
            rate_limit=r.flag("RATE_LIMIT_ENABLED"),
            rpm=r.integer("RATE_LIMIT_RPM", 1),
        ),
        upstream=Upstream(
            connect=r.seconds("UPSTREAM_CONNECT_TIMEOUT_SECONDS"),
            first_byte=r.seconds("UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS"),
            idle=r.seconds("UPSTREAM_IDLE_TIMEOUT_SECONDS"),
            total=r.seconds("UPSTREAM_TIMEOUT_SECONDS"),
            transport=r.choice("GATEWAY_HTTP_TRANSPORT", "engine", "httpx"),
            ca_file=r.text("UPSTREAM_CA_FILE"),
        ),
        state=State(redis_url=r.redis_url("REDIS_URL")),
        ledger=Ledger(
            enabled=r.flag("LEDGER_ENABLED"),
            data_dir=r.text("DATA_DIR"),
            database=r.database_url("DATABASE_URL"),
            spool_max_bytes=r.integer("SPOOL_MAX_BYTES", 4 * 2**20, 2**40),
            refuse_when_full=r.choice("SPOOL_WHEN_FULL", "refuse", "serve") == "refuse",
            prices_file=r.text("PRICES_FILE"),
        ),
        projects=Projects(
            enabled=r.flag("ENABLE_MULTI_PROJECT"),
            pepper=r.own_key("KEY_PEPPER", required=False),
            refuse_when_unknown=r.choice("BUDGET_WHEN_UNKNOWN", "refuse", "allow") == "refuse",
        ),
        otlp_endpoint=r.url("OTEL_EXPORTER_OTLP_ENDPOINT"),
        simulated=simulated,
    )
    if settings.keys.admin is not None and settings.keys.admin == settings.keys.gateway:
        r.problems.append("ADMIN_API_KEY equals GATEWAY_API_KEY: every client would be an administrator.")
    local = settings.local
    if (local.access_id is None) != (local.access_secret is None):
        r.problems.append(
            "LOCAL_CF_ACCESS_CLIENT_ID and LOCAL_CF_ACCESS_CLIENT_SECRET go together: set both, or neither."
        )
    if local.base_url is not None and local.default_model not in local.allowlist:
        r.problems.append(
            f"LOCAL_LLM_DEFAULT_MODEL={local.default_model!r} is not in LOCAL_LLM_MODEL_ALLOWLIST: "
            "add it there, or choose a default that is."
        )
    if settings.server.admin_port == settings.server.port:
        r.problems.append("ADMIN_PORT equals PORT: give /admin a port of its own, or leave it unset.")
    _check_projects(r, settings)
    _validate_unbuilt(r)
    if r.problems:
        raise SettingsError(r.problems)
    return settings


def _local_default(r: Reader, allowed: tuple[str, ...]) -> str:
    """The default model; where only the allow-list was changed, the first model of that."""
    default = r.model("LOCAL_LLM_DEFAULT_MODEL")
    if r.given("LOCAL_LLM_DEFAULT_MODEL") or default in allowed or not allowed:
        return default
    return allowed[0]


def _check_projects(r: Reader, settings: Settings) -> None:
    if not settings.projects.enabled:
        return
    if not settings.ledger.enabled:
        r.problems.append(
            "ENABLE_MULTI_PROJECT=1 needs the ledger: leave LEDGER_ENABLED at 1, or projects have no budgets."
        )
    if settings.ledger.database is not None and settings.projects.pepper is None:
        r.problems.append(
            "KEY_PEPPER is not set: machines that share a database hash keys under the same secret, for "
            "example from `openssl rand -hex 32`."
        )


def _validate_unbuilt(r: Reader) -> None:
    """Wrong values of variables whose feature comes later are still named, not carried along."""
    for name in (
        "ENABLE_ANTHROPIC_CACHE_CONTROL",
        "RETRY_ENABLED",
        "CIRCUIT_BREAKER_ENABLED",
        "FAILOVER_ENABLED",
        "STRIP_IDE_BOILERPLATE",
        "ENABLE_FILE_HASH_CACHE",
        "ENFORCE_DIFF_FIRST",
        "ENABLE_RESPONSE_CACHE",
        "ENABLE_SKILLS",
        "ENABLE_SMART_ROUTING",
        "ENABLE_SEMANTIC_ROUTING_SIGNAL",
        "ENABLE_CASCADE_ROUTING",
        "CASCADE_LOG_OUTCOMES",
    ):
        r.flag(name)
    for name in ("CACHE_TTL_SECONDS", "CASCADE_MIN_RESPONSE_LENGTH"):
        r.integer(name, 0)
    for name in ("RETRY_MAX_ATTEMPTS", "CIRCUIT_BREAKER_THRESHOLD"):
        r.integer(name, 1)
    for name in ("CIRCUIT_BREAKER_TIMEOUT", "CASCADE_TIMEOUT_SECONDS"):
        r.seconds(name)
    r.choice("SMART_ROUTING_MODE", "local_first", "keyword")
    r.choice("CASCADE_QUALITY_CHECK_MODE", "heuristic", "llm", "none")


def fingerprint(secret: str | None) -> str:
    """A secret as it may be shown: its last four characters when it is long, else only that it is set."""
    if secret is None:
        return "not set"
    return f"…{secret[-4:]}" if len(secret) >= 24 else "set"
