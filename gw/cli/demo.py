"""``gw demo``: the gateway's main job with a simulated model, on embedded defaults."""

from __future__ import annotations

import argparse
import os
import tempfile

from ..server import SIMULATED
from ._start import read_settings, serve_until_signal
from .summary import url

#: Not a secret: the demo listens on this machine and spends nobody's money.
DEMO_KEY = "demo-key-not-a-secret"
DEMO_ADMIN_KEY = "demo-admin-key-not-a-secret"


def demo(args: argparse.Namespace) -> int:
    """Serve with the simulated provider and print a request that can be pasted."""
    os.environ["GATEWAY_API_KEY"] = os.environ.get("GATEWAY_API_KEY") or DEMO_KEY
    os.environ["ADMIN_API_KEY"] = os.environ.get("ADMIN_API_KEY") or DEMO_ADMIN_KEY
    os.environ[SIMULATED] = "1"
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
        # A ledger of its own, that goes with it: nobody's real one is to hold simulated answers.
        # And /admin is where the text says, whatever is exported for the real one.
        os.environ |= {"DATA_DIR": folder, "DATABASE_URL": "", "ADMIN_PORT": ""}
        settings = read_settings(args, simulated=True)
        if settings is None:
            return 2
        print(instructions(url(settings), settings.keys.gateway, settings.keys.admin or ""), flush=True)
        return serve_until_signal(settings)


def instructions(base: str, key: str, admin_key: str) -> str:
    """What the demo prints: one command to paste, and where to point a client."""
    return f"""\
The gateway runs at {base} with a simulated model: no key, no network, nothing to pay.

Ask it something (in another terminal):

  curl -N {base}/v1/chat/completions \\
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
    -d '{{"model": "sonnet", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

Or point any OpenAI client at it:

  OPENAI_BASE_URL={base}/v1  OPENAI_API_KEY={key}  model: sonnet

Who asked what, and what it came to:

  curl {base}/admin/usage -H "X-API-Key: {admin_key}"

Ctrl-C stops it.
"""
