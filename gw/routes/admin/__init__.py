"""``/admin``: behind its own key. Projects, keys, usage, money, who changed what, and the metrics.

``routes.py`` is the one list of what there is: it is mounted, described (``/admin/openapi.json``) and tested
from there.
"""

from __future__ import annotations

from blacksheep import Router

from . import mounting
from .mounting import Admin as Admin
from .routes import ROUTES as ROUTES
from .store import AdminStore as AdminStore


def mount(router: Router, admin: Admin) -> None:
    """Put every route of /admin on ``router``."""
    mounting.mount(router, ROUTES, admin)
