"""TLS as this gateway speaks it: the system's trust store, always verified."""

from __future__ import annotations

import ssl


def ssl_context(ca_file: str | None = None) -> ssl.SSLContext:
    """A client context that trusts the system's store and, additionally, the PEM file ``ca_file``.

    Raises ``OSError`` (``FileNotFoundError``, ``ssl.SSLError``) when ``ca_file`` cannot be used, so that
    a wrong setting is noticed when the process starts and not at its first request.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
