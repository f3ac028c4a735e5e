"""Where the ledger is kept, also where there is no home."""

from __future__ import annotations

import dataclasses
import os
import stat
import tempfile
from pathlib import Path

import pytest

from gw.store.place import DataDirError, data_dir, is_lasting
from tests.databases import ledger_of


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "file").write_text("")


def by_default(tmp_path: Path) -> Path:
    return data_dir(dataclasses.replace(ledger_of(tmp_path), data_dir=None))


def test_data_dir_is_made_for_this_user_alone(tmp_path: Path) -> None:
    place = data_dir(ledger_of(tmp_path / "a" / "b"))
    assert place == tmp_path / "a" / "b"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert is_lasting(place)


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o750)
    assert stat.S_IMODE(data_dir(ledger_of(tmp_path / "shared")).stat().st_mode) == 0o750


def test_a_data_dir_that_cannot_be_written_is_named_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match=r"DATA_DIR=.*/file/below .*Not a directory.*name another"):
        data_dir(ledger_of(tmp_path / "file" / "below"))


def test_a_data_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match="DATA_DIR="):
        data_dir(ledger_of(tmp_path / "file"))


def test_the_default_is_in_the_users_home(tmp_path: Path) -> None:
    place = by_default(tmp_path)
    assert place == tmp_path / "home" / ".local" / "share" / "claude-gateway"
    assert is_lasting(place)


def test_xdg_data_home_goes_before_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert by_default(tmp_path) == tmp_path / "xdg" / "claude-gateway"


def test_a_relative_xdg_data_home_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "xdg")
    assert by_default(tmp_path).is_relative_to(tmp_path / "home")


@pytest.mark.parametrize("home", ["file", "nobody"])
def test_without_a_home_it_is_a_private_directory_that_does_not_last(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if home == "file":
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    else:
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and not in passwd
    place = by_default(tmp_path)
    assert place.parent == tmp_path / "temporary"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not is_lasting(place)
    place.chmod(0o777)
    assert stat.S_IMODE(by_default(tmp_path).stat().st_mode) == 0o700


def test_a_temporary_directory_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "temporary" / f"claude-gateway-{os.geteuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(DataDirError, match=r"LEDGER_ENABLED=0"):
        by_default(tmp_path)
    assert list((tmp_path / "theirs").iterdir()) == []
