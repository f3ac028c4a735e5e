"""The ``gw`` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 it failed, 2 wrong usage or settings."""
    args = parser().parse_args(argv)
    # Imported late: `gw --help` and a wrong setting answer at once, without loading the server.
    if args.command == "demo":
        from .demo import demo

        return demo(args)
    from .serve import serve

    return serve(args)


def parser() -> argparse.ArgumentParser:
    from ..variables import table

    top = argparse.ArgumentParser(
        prog="gw",
        description="An AI gateway: one endpoint for every coding client and every model.",
        epilog="Try `gw demo` first: it needs no key, no server and no network.",
    )
    top.add_argument("--version", action="version", version=f"gw {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="run the gateway",
        description="Run the gateway. Everything is set by environment variables (or a .env file);\n"
        "the options below override the variables of the same name.",
        epilog="Environment variables, with their defaults in brackets:\n\n" + table() + "\n\nExample:\n"
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
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", metavar="ADDRESS", help="address to listen on (HOST)")
    command.add_argument("--port", type=int, metavar="N", help="port to listen on (PORT)")
