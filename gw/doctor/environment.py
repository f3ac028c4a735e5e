"""The settings themselves: what cannot be read, what nobody reads, and what has no effect yet."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from ..backing import prices
from ..observability import otel
from ..prices import PricesError
from ..settings import Settings
from ..variables import BY_NAME, of, unbuilt
from .context import Context
from .keys import is_loopback
from .report import Section

#: How alike two names are to be taken for one that was mistyped (difflib's ratio): GATEWAY_KEY for
#: GATEWAY_API_KEY has 0.85, ANTHROPIC_AUTH_TOKEN, which other programs read, 0.76.
_ALIKE = 0.8
#: Needed when the first word is another one (RATELIMIT_RPM).
_VERY_ALIKE = 0.92
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_FAMILY = "OPENAI_COMPATIBLE_"
#: Told by the checks of the stores themselves.
_STORES = frozenset({"REDIS_URL", "DATABASE_URL"})


def unreadable(section: Section, problems: Sequence[str]) -> None:
    """The settings as ``gw serve`` refuses them."""
    for problem in problems:
        text, _, fix = problem.partition(": ")
        section.fail(text + ".", fix) if fix else section.fail(
            problem, "`gw serve --help` lists every variable."
        )


def check(section: Section, context: Context) -> None:
    settings, environ = context.settings, context.environ
    count = sum(1 for name, value in environ.items() if value and is_known(name))
    source = f", {context.env_file} included" if context.env_file else ""
    section.ok(f"{count} variables of the gateway are set{source}.")
    typos(section, environ)
    without_effect = [
        name
        for _, names in unbuilt(dict(environ))
        for name in names
        if name not in _STORES and _chosen(environ, name)
    ]
    if without_effect:
        section.warn(
            f"Set, but without effect in this version: {', '.join(without_effect)}.",
            "Nothing to do; do not rely on them yet.",
        )
    proxy = next((name for name in _PROXIES if environ.get(name)), None)
    if proxy is not None and settings.upstream.transport == "engine":
        section.warn(
            f"{proxy} is set, but the gateway's own HTTP engine uses no proxy.",
            "GATEWAY_HTTP_TRANSPORT=httpx, if upstreams are only reached through it",
        )
    if (missing := otel.problem(settings)) is not None:
        text, _, fix = missing.partition(": ")
        section.fail(f"{text}.", fix)
    try:
        prices(settings)
    except PricesError as error:
        for problem in error.problems:
            section.fail(problem, "correct it there; docs/prices.md shows what an entry looks like")
    _loops(section, settings)


def typos(section: Section, environ: Mapping[str, str]) -> None:
    """Variables that nobody reads and that look like one of ours."""
    for name in sorted(environ):
        if environ[name] and (meant := likely(name)) is not None and not environ.get(meant):
            section.warn(f"{name} is no variable of the gateway.", f"Did you mean {meant}?")


def likely(name: str) -> str | None:
    """The variable that ``name`` was probably meant to be; None when it is one, or resembles none."""
    if is_known(name) or name.startswith(_FAMILY):  # the settings refuse a wrong one of the family
        return None
    found = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=_ALIKE)
    if not found or name.startswith(found[0] + "_"):  # DATABASE_URL_TEST is somebody's own
        return None
    same_family = name.partition("_")[0] == found[0].partition("_")[0]
    alike = difflib.SequenceMatcher(None, name, found[0]).ratio()
    return found[0] if same_family or alike >= _VERY_ALIKE else None


def is_known(name: str) -> bool:
    try:
        of(name)
    except KeyError:
        return False
    return True


def _chosen(environ: Mapping[str, str], name: str) -> bool:
    """A template that spells the defaults out has chosen nothing."""
    return environ[name].strip() != (BY_NAME[name].default or "")


def _loops(section: Section, settings: Settings) -> None:
    """Claude Code's ANTHROPIC_BASE_URL points at the gateway; the gateway's own must not."""
    upstreams = [("ANTHROPIC_BASE_URL", settings.claude.base_url)]
    if settings.local.base_url is not None:
        upstreams.append(("LOCAL_LLM_BASE_URL", settings.local.base_url))
    upstreams += [(f"{_FAMILY}{c.name.upper()}_BASE_URL", c.base_url) for c in settings.compatible]
    server = settings.server
    for name, url in upstreams:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if port == server.port and (host == server.host or is_loopback(host)):
            section.fail(
                f"{name}={url} is the gateway's own address: it would ask itself.",
                f"unset {name}, or set it to the upstream's address (clients have a {name} of their own)"
                if name == "ANTHROPIC_BASE_URL"
                else f"set {name} to the upstream's address, or PORT to another port",
            )
