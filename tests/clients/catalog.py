"""Every client of the suite, in the order of the README's table."""

from __future__ import annotations

from .client import Client
from .coding import CODING
from .sdks import SDKS

CLIENTS: tuple[Client, ...] = (*CODING, *SDKS)
