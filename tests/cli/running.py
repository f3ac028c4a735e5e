"""`gw …` as a process of its own, with nothing but the given settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.gateway import KEY, ROOT, clean_environment


def gw(*arguments: str, data: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """With projects, in SQLite below ``data``. Whatever goes wrong is said without a traceback."""
    chosen = {"GATEWAY_API_KEY": KEY, "ENABLE_MULTI_PROJECT": "1", "DATA_DIR": str(data), **settings}
    done = subprocess.run(
        [sys.executable, "-m", "gw", *arguments],
        cwd=data.parent,
        env=clean_environment(PYTHONPATH=str(ROOT), COLUMNS="80", **chosen),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done
