"""Runs the checks, all at once and each in bounded time."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, cast

from providers.http import HttpClient, Timeouts, open_client

from ..settings import Settings, SettingsError, load
from . import claude, clock, compatible, environment, keys, ledger, limits, ollama, postgres, redis
from .context import Context
from .report import Report, Section, redacted, secrets_of

#: What can be asked for by name, as it is printed. ``compatible``: every OPENAI_COMPATIBLE_<NAME>, and
#: Claude on Bedrock and Vertex AI.
NAMES = (
    "settings",
    "keys",
    "claude",
    "ollama",
    "compatible",
    "redis",
    "postgres",
    "ledger",
    "limits",
    "clock",
)
#: The checks that meet another clock on their way.
_TIMED = frozenset({"claude", "ollama", "compatible", "redis", "postgres"})
_TICK_SECONDS = 0.1

_P = ParamSpec("_P")
_T = TypeVar("_T")
Check = Callable[[Section, Context], Awaitable[None]]


def examine(
    environ: Mapping[str, str],
    *,
    env_file: Path | None = None,
    seconds: float = 10.0,
    only: Sequence[str] = (),
    port_problem: Callable[[Settings], str | None] = lambda _: None,
    on_section: Callable[[Section], None] = lambda _: None,
    on_wait: Callable[[Sequence[str]], None] = lambda _: None,
) -> Report:
    """Examine the gateway that ``environ`` would start. No check takes longer than ``seconds``.

    ``only`` are names out of :data:`NAMES` (empty: all). ``port_problem`` says why the address of the
    settings cannot be listened on. ``on_section`` gets each section as soon as it and those before it are
    done, ``on_wait`` now and then the names of the checks that still run. What is found is
    never raised.
    """

    async def run() -> Report:
        started = time.perf_counter()
        watch = clock.Watch()
        settings_section = Section("settings")
        found = _settings(settings_section, environ)
        readable = not settings_section.findings
        wanted = set(only or NAMES)
        names: list[str] = [name for name in NAMES if name in wanted]
        secret = secrets_of(environ)
        done: list[Section] = []

        def finish(section: Section) -> None:
            section.findings = redacted(section.findings, secret)
            done.append(section)
            on_section(section)

        if found is None:
            settings_section.skip("Nothing else was examined: the settings have to be right first.")
            finish(settings_section)
            return Report(done, time.perf_counter() - started, readable)

        client = _client(settings_section, found)
        try:
            half = seconds / 2  # two requests fit into the time of a check
            timeouts = Timeouts(min(found.upstream.connect, half), half, half, seconds)
            context = Context(found, environ, client, timeouts, seconds, env_file, not readable)
            context.port_problem = port_problem(found) if "limits" in wanted else None
            if readable:
                environment.check(settings_section, context)
            if "settings" in wanted or (settings_section.findings and not readable):
                finish(settings_section)
            await _run_all(names, context, watch, finish, on_wait)
        finally:
            await client.aclose()
        return Report(done, time.perf_counter() - started, readable)

    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Detached())
        return runner.run(run())


async def _run_all(
    names: Sequence[str],
    context: Context,
    watch: clock.Watch,
    finish: Callable[[Section], None],
    on_wait: Callable[[Sequence[str]], None],
) -> None:
    """Run what ``names`` ask for at the same time; finish the sections in their order."""
    needed = set(names) | (_TIMED if "clock" in names else frozenset())
    planned = [(name, title, check) for name, title, check in _plan(context) if name in needed]
    running: dict[str, asyncio.Task[Section]] = {
        title: asyncio.create_task(_bounded(title, check, context)) for _, title, check in planned
    }
    try:
        for name, title, _ in planned:
            while True:
                finished, _pending = await asyncio.wait({running[title]}, timeout=_TICK_SECONDS)
                if finished:
                    break
                on_wait([other for other, task in running.items() if not task.done()])
            if name in names:
                finish(running[title].result())
        if "clock" in names:
            section = Section("clock")
            clock.check(section, context.readings, now=time.time(), stepped=watch.stepped())
            finish(section)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


def _plan(context: Context) -> list[tuple[str, str, Check]]:
    """``(name, title, check)`` in the order of printing."""
    plan: list[tuple[str, str, Check]] = [
        ("keys", "keys", _at_once(keys.check)),
        ("claude", "claude", claude.check),
        ("ollama", "ollama", ollama.check),
    ]
    plan += [
        ("compatible", upstream.name, partial(compatible.check, upstream=upstream))
        for upstream in context.settings.compatible
    ]
    plan += [
        ("compatible", cloud.name, partial(compatible.check_cloud, cloud=cloud))
        for cloud in context.settings.clouds
    ]
    if not context.settings.compatible and not context.settings.clouds:
        plan.append(("compatible", "compatible", _at_once(compatible.none)))
    return [
        *plan,
        ("redis", "redis", redis.check),
        ("postgres", "postgres", postgres.check),
        ("ledger", "ledger", ledger.check),
        ("limits", "limits", limits.check),
    ]


def _at_once(check: Callable[[Section, Context], None]) -> Check:
    async def run(section: Section, context: Context) -> None:
        check(section, context)

    return run


async def _bounded(title: str, check: Check, context: Context) -> Section:
    """One check: bounded in time, and its own mistakes are findings like any other."""
    section = Section(title)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(context.seconds):
            await check(section, context)
    except TimeoutError:
        section.fail(
            f"Not done after {context.seconds:g} s.",
            "`gw doctor --timeout 30` waits longer; what it asks hangs.",
        )
    except Exception as error:  # noqa: BLE001 - one broken check must not hide what the others found
        section.fail(
            f"The check itself failed ({type(error).__name__}).", "This is a bug of the doctor: report it."
        )
    section.seconds = time.perf_counter() - started
    return section


def _settings(section: Section, environ: Mapping[str, str]) -> Settings | None:
    """The settings; where only GATEWAY_API_KEY is wrong a stand-in takes its place, so that all the rest
    can be looked at. None when there is more to mend, which ``section`` then names."""
    try:
        return load(environ)
    except SettingsError as error:
        environment.unreadable(section, error.problems)
        environment.typos(section, environ)
    try:
        return load({**environ, "GATEWAY_API_KEY": secrets.token_hex(32)})
    except SettingsError:
        return None


def _client(section: Section, settings: Settings) -> HttpClient:
    """The client that the gateway would use; without UPSTREAM_CA_FILE when that cannot be read."""
    transport = cast(Literal["engine", "httpx"], settings.upstream.transport)
    try:
        return open_client(transport, ca_file=settings.upstream.ca_file)
    except OSError as error:
        section.fail(
            f"UPSTREAM_CA_FILE={settings.upstream.ca_file} cannot be used: {error.strerror or error}.",
            "The path of a readable PEM file, or unset it.",
        )
        return open_client(transport)


class _Detached(ThreadPoolExecutor):
    """Runs each call on a daemon thread of its own. The interpreter waits for the threads of a pool when it
    ends, and a resolver that hangs would hold the doctor up for as long as it likes."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - as a pool does: the future carries it
                    future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> Any:
        """Nothing to wait for."""
