"""``gw serve``."""

from __future__ import annotations

import argparse
import os

from ._start import read_settings, serve_until_signal
from .summary import summary


def serve(args: argparse.Namespace) -> int:
    """Start the gateway from the environment. 2 when a setting is wrong, 1 when it cannot listen."""
    settings = read_settings(args)
    if settings is None:
        return 2
    print(summary(settings, dict(os.environ)), flush=True)
    return 0 if args.check else serve_until_signal(settings)
