"""What ``serve`` and ``demo`` share: environment, address check, serving."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

from dotenv import dotenv_values

from ..settings import Settings, SettingsError, load


def environment(args: argparse.Namespace) -> None:
    """Lay the settings file (if the command has one) below ``os.environ`` and its options above it.

    Workers read ``os.environ`` again, so this is where everything has to end up.
    """
    file = getattr(args, "env_file", None)
    if file is not None and Path(file).is_file():
        for name, value in _read(file).items():
            if value is not None:
                os.environ.setdefault(name, value)
    elif file not in (None, ".env"):
        raise SettingsError([f"--env-file {file}: there is no such file."])
    for name, option in (("HOST", "host"), ("PORT", "port"), ("WEB_CONCURRENCY", "workers")):
        value = getattr(args, option, None)
        if value is not None:
            os.environ[name] = str(value)


def _read(file: str) -> dict[str, str | None]:
    found: dict[str, str | None]
    try:
        found = dotenv_values(file, encoding="utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise SettingsError([f"{file} cannot be read: {error.strerror}."]) from None
    except UnicodeDecodeError:
        found = {"\0": None}
    if any("\0" in name + (value or "") for name, value in found.items()):  # UTF-16 is full of them
        raise SettingsError([f"{file} cannot be read: it is not UTF-8 text; save it again as UTF-8."])
    return found


def read_settings(args: argparse.Namespace, *, simulated: bool = False) -> Settings | None:
    """The settings, or None after naming on stderr what is wrong with them and the fix."""
    try:
        environment(args)
        settings = load(os.environ, simulated=simulated)
        from ..backing import problems

        if found := problems(settings):
            raise SettingsError(found)
        return settings
    except SettingsError as error:
        print("gw: the settings are not right:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        print("`gw serve --help` lists every variable.", file=sys.stderr)
        return None


def address_problem(settings: Settings) -> str | None:
    """Why ``HOST:PORT`` or ``HOST:ADMIN_PORT`` cannot be listened on, or None. Said before the workers
    start, since afterwards it would be a traceback of the server's, and no /admin."""
    server = settings.server
    problem = _port_problem(server.host, server.port, "PORT", "set PORT to a free port")
    if problem is None and server.admin_port is not None:
        fix = "set ADMIN_PORT to a free port, or leave it unset"
        problem = _port_problem(server.host, server.admin_port, "ADMIN_PORT", fix)
    return problem


def _port_problem(host: str, port: int, name: str, fix: str) -> str | None:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"{name}={port} is in use on {host}: stop the other program or {fix}."
        if error.errno == errno.EACCES:
            return f"{name}={port} may not be opened by this user: set {name} to 1024 or above."
        return f"HOST={host!r} cannot be listened on: {error.strerror or error}."
    return None


def serve_until_signal(settings: Settings) -> int:
    """Run the server; 0 after a clean stop."""
    if (problem := address_problem(settings)) is not None:
        print(f"gw: {problem}", file=sys.stderr)
        return 1
    from ..server import run

    run(settings)
    return 0
