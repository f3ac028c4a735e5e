"""What the checks of Redis and PostgreSQL share: bounds, and explaining why nothing answered."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from .report import Section

#: Seconds for one command or for connecting.
PATIENCE = 1.0
#: Milliseconds beyond which every request notices it.
SLOW_MS = 10.0


def unreachable(
    section: Section, cause: BaseException, error: Exception, place: str, variable: str, start: str
) -> None:
    if isinstance(cause, socket.gaierror):
        section.fail(f"The host of {place} cannot be resolved.", f"Check the host in {variable}.")
    elif isinstance(cause, ssl.SSLError):
        section.fail(
            f"TLS with {place} failed: {getattr(cause, 'reason', None) or 'refused'}.",
            f"Check whether the server speaks TLS, and the scheme or sslmode in {variable}.",
        )
    elif isinstance(cause, ConnectionRefusedError):
        section.fail(f"Nothing listens at {place}.", f"Start it ({start}), or correct {variable}.")
    else:
        section.fail(f"No connection to {place} ({type(error).__name__}).", f"Check {variable}.")


def place_of(url: str, port: int) -> str:
    """Host and port of a URL, without anything secret."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or 'localhost'}:{parts.port or port}"
    except ValueError:
        return "the address of the URL"


def root_of(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
