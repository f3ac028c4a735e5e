"""What a person types wrong, or a script whose variable is unset: said in one line, and nothing is done."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import pytest

from gw.cli import parser
from tests.e2e.gateway import free_port

from .running import gw


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("option", ["--models", "--allow-tools", "--block-tools"])
@pytest.mark.parametrize("nothing", ["", " ", ",", " , "])
@pytest.mark.parametrize("command", [("projects", "create"), ("projects", "set"), ("keys", "create")])
def test_an_empty_list_is_not_taken_for_everything(
    capsys: pytest.CaptureFixture[str], option: str, nothing: str, command: tuple[str, str]
) -> None:
    assert "or none for no such rule" in refused(capsys, *command, "research", option, nothing)


@pytest.mark.parametrize("when", ["999999w", "90", "yesterday", "2026-02-30", "", "-1d", "1y"])
def test_a_time_that_is_none_is_told_with_examples(capsys: pytest.CaptureFixture[str], when: str) -> None:
    assert "90d" in refused(capsys, "keys", "create", "research", f"--expires={when}")


@pytest.mark.parametrize("overlap", ["24", "a day", "-1h", ""])
def test_an_overlap_needs_its_unit(capsys: pytest.CaptureFixture[str], overlap: str) -> None:
    assert "30m, 12h, 7d" in refused(capsys, "keys", "rotate", "some-key", f"--overlap={overlap}")


@pytest.mark.parametrize("month", ["2026-13", "26-11", "2026-1", "0000-01", "november"])
def test_a_month_that_is_none_is_told_with_an_example(capsys: pytest.CaptureFixture[str], month: str) -> None:
    assert "a month as 2026-11" in refused(capsys, "usage", "--month", month)


def test_what_is_meant_is_taken() -> None:
    given = parser().parse_args(["projects", "set", "research", "--models", "claude-haiku-*, local:*"])
    assert isinstance(given, argparse.Namespace)
    assert getattr(given, "rules.models") == "claude-haiku-*, local:*"
    assert getattr(parser().parse_args(["keys", "set", "k", "--models", "none"]), "rules.models") == "none"


def test_a_password_that_is_not_escaped_stops_the_start_and_is_not_shown(tmp_path: Path) -> None:
    url = "postgresql://gateway:1#canary@db/gateway"
    done = gw("serve", "--check", data=tmp_path / "data", DATABASE_URL=url, KEY_PEPPER="p" * 32)
    assert done.returncode == 2
    assert "DATABASE_URL cannot be read" in done.stderr
    assert "%23" in done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_an_admin_port_that_is_taken_stops_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = gw("serve", data=tmp_path / "data", PORT=str(free_port()), ADMIN_PORT=port)
    assert done.returncode == 1
    assert f"ADMIN_PORT={port} is in use on 127.0.0.1" in done.stderr
    assert "set ADMIN_PORT to a free port, or leave it unset" in done.stderr


@pytest.mark.parametrize("options", [(), ("--port", "9090")])
def test_admin_and_clients_do_not_share_a_port(tmp_path: Path, options: tuple[str, ...]) -> None:
    ports = {"ADMIN_PORT": "9090", **({} if options else {"PORT": "9090"})}
    done = gw("serve", "--check", *options, data=tmp_path / "data", **ports)
    assert done.returncode == 2
    assert "ADMIN_PORT equals PORT: give /admin a port of its own, or leave it unset." in done.stderr
