"""Where the gateway keeps its files. Imports no database."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ..settings import Ledger

_NAME = "claude-gateway"
_PRIVATE = 0o700


class DataDirError(Exception):
    """No directory can be written. The message names the variable and the fix."""


def data_dir(ledger: Ledger) -> Path:
    """The directory of the ledger's files, made for this user alone (0700) where it is not there yet.

    ``DATA_DIR``, or else ``claude-gateway`` in ``$XDG_DATA_HOME`` or ``~/.local/share``. Where the latter
    cannot be written (a read-only system, a user without a home), it is a directory beside temporary
    files, which :func:`is_lasting` tells. Raises :class:`DataDirError` for a ``DATA_DIR`` that cannot be
    written, and where nothing can.
    """
    if ledger.data_dir is not None:
        chosen = Path(ledger.data_dir).expanduser().absolute()
        try:
            _make(chosen)
        except OSError as error:
            raise DataDirError(
                f"DATA_DIR={ledger.data_dir} cannot be written ({error.strerror or type(error).__name__}): "
                "make it a directory that this user owns, or name another one."
            ) from error
        return chosen
    for place in (_home(), _temporary()):
        try:
            if place is not None:
                _make(place)
                return place
        except OSError:
            continue
    raise DataDirError(
        f"Neither {_home() or 'a home directory'} nor {_temporary()} can be written: name a directory that "
        "can in DATA_DIR, or keep no ledger (LEDGER_ENABLED=0)."
    )


def is_lasting(place: Path) -> bool:
    """Whether ``place``, from :func:`data_dir`, outlives a restart of the machine."""
    return place != _temporary()


def _home() -> Path | None:
    given = os.environ.get("XDG_DATA_HOME", "")
    # Relative paths are to be ignored (XDG Base Directory Specification 0.8).
    if given.startswith("/"):
        return Path(given) / _NAME
    home = os.path.expanduser("~")  # noqa: PTH111 - Path's raises for a user without a home
    return Path(home, ".local", "share", _NAME) if home.startswith("/") else None


def _temporary() -> Path:
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:  # none that can be written: whoever tries this one is told so
        folder = "/tmp"  # noqa: S108
    return Path(folder) / f"{_NAME}-{os.geteuid()}"


def _make(place: Path) -> None:
    """Make ``place``, or see that it is ours. Raises ``OSError``."""
    place.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    # Tried, not asked: access(2) goes by the real user, and knows nothing of what a container may do.
    with tempfile.TemporaryFile(dir=place):
        pass
    if place == _temporary():
        # Anybody may make directories there: one of somebody else's could be read by him.
        found = place.lstat()
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(13, "Permission denied")
        place.chmod(_PRIVATE)
