"""The ``gw`` command."""

from __future__ import annotations

import argparse
import errno
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .. import __version__
from . import arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 it failed, 2 wrong usage or settings, 141 nobody
    reads on (``gw usage | head -1``)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ellipsis on a Latin-1 terminal must not stop the start
    try:
        try:
            return _run(parser().parse_args(argv))
        finally:
            print(end="", flush=True)  # the interpreter would do so at its end, and complain
    except BrokenPipeError:
        _give_up_output()
        return 128 + signal.SIGPIPE  # as a shell tells of other tools, which the signal ends
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:  # standard output has no name
            raise
        _give_up_output()
        print(f"gw: the output cannot be written: {error.strerror}.", file=sys.stderr)
        return 1


def _give_up_output() -> None:
    """Throw away what could not be written, or it would be tried once more at the interpreter's end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _run(args: argparse.Namespace) -> int:
    # Imported late: `gw --help` and a wrong setting answer at once, without loading the server.
    if args.command == "demo":
        from .demo import demo

        return demo(args)
    if args.command == "doctor":
        from .doctor import doctor

        return doctor(args)
    if args.command in ("projects", "keys", "usage", "migrate"):
        command: Callable[[argparse.Namespace], int] = getattr(
            import_module(f".{args.command}", __name__), args.command
        )
        return command(args)
    from .serve import serve

    return serve(args)


def parser() -> argparse.ArgumentParser:
    from ..variables import table

    width = min(max(shutil.get_terminal_size().columns, 80), 100)
    top = argparse.ArgumentParser(
        prog="gw",
        description="An AI gateway: one endpoint for every coding client and every model.",
        epilog="Try `gw demo` first: it needs no key, no server and no network.\n\n"
        "Examples:\n"
        "  gw serve                              run the gateway with the settings of .env\n"
        "  gw doctor                             what is wrong with them, and what to do\n"
        "  gw usage                              this month's bill per project\n"
        "  gw projects create research --monthly-budget 200\n"
        "  gw keys create research --name ci     a key for it, shown once",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"gw {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="run the gateway",
        description="Run the gateway. Everything is set by environment variables (or a .env file);\n"
        "the options below override the variables of the same name.",
        epilog="Environment variables, with their defaults in brackets:\n\n" + table(width) + "\n\nExample:\n"
        "  GATEWAY_API_KEY=$(openssl rand -hex 32) ANTHROPIC_API_KEY=sk-ant-… gw serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(serve)
    serve.add_argument("--env-file", metavar="FILE", default=".env", help="settings file (default: .env)")
    serve.add_argument("--workers", type=int, metavar="N", help="worker processes (WEB_CONCURRENCY)")
    serve.add_argument(
        "--check", action="store_true", help="print the start-up summary and exit without serving"
    )

    demo = commands.add_parser(
        "demo",
        help="run the gateway with a simulated model: no key, no server, no network",
        description="Run the gateway with a simulated model and print a ready-made request.\n"
        "No key, no server and no network are needed. HOST and PORT are honoured.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _common(demo)

    doctor = commands.add_parser(
        "doctor",
        help="look at keys, upstreams, Redis, PostgreSQL, clock and limits, and say what to do",
        description="Look at everything the gateway stands on, with the settings that `gw serve` reads,\n"
        "and print what to do. Exit code: 0 healthy (or only warnings), 1 something failed,\n"
        "2 the settings cannot be read.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--env-file", metavar="FILE", default=".env", help="settings file (default: .env)")
    doctor.add_argument("--json", action="store_true", help="the report as JSON")
    doctor.add_argument(
        "--timeout", type=_seconds, default=10.0, metavar="S", help="seconds for each check (default: 10)"
    )
    doctor.add_argument("--only", metavar="NAMES", default="", help="some checks, as in keys,claude,redis")
    arguments.add(commands)
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", metavar="ADDRESS", help="address to listen on (HOST)")
    command.add_argument("--port", type=int, metavar="N", help="port to listen on (PORT)")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError("a number of seconds between 0 and 3600")
    return value
