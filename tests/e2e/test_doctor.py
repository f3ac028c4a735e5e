"""`gw doctor` as an operator meets it: real sockets, real Redis, real PostgreSQL, and each of them broken."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gw.doctor import Finding, examine
from tests.services import PASSWORD, Service, running_postgres, running_redis, statement

from .gateway import ADMIN_KEY, ROOT, Gateway, clean_environment
from .upstream import Upstream

KEY = "f3a9c1e07b5d48229e6cc0a1d4b87f35"
CLAUDE = "sk-ant-api03-canary-w8K2mQ9xTz4vBn7LpR5sYd3F"
SECRETS = (KEY, ADMIN_KEY, CLAUDE, PASSWORD, "canary")


@pytest.fixture(scope="module")
def redis() -> Iterator[Service]:
    with running_redis() as service:
        yield service


@pytest.fixture(scope="module")
def postgres() -> Iterator[Service]:
    with running_postgres() as service:
        yield service


@pytest.fixture
def healthy(upstream: Upstream, tmp_path: Path) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "GATEWAY_API_KEY": KEY,
        "ADMIN_API_KEY": ADMIN_KEY,
        "ANTHROPIC_API_KEY": CLAUDE,
        "ANTHROPIC_BASE_URL": upstream.base_url,
        "PORT": str(port),
        "DATA_DIR": str(tmp_path / "data"),
    }


def doctor(*arguments: str, cwd: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gw", "doctor", *arguments],
        cwd=cwd,
        env=clean_environment(PYTHONPATH=str(ROOT), **environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr
    return done


def findings(done: subprocess.CompletedProcess[str], name: str) -> list[dict[str, Any]]:
    """The findings of one check in the JSON report."""
    (check,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == name]
    return list(check["findings"])


def failure(name: str, environ: dict[str, str]) -> Finding:
    """The only failure of the check ``name``, in this process: starting Python for each would take long."""
    report = examine(environ, only=[name])
    assert report.exit_code == 1
    assert not any(secret in json.dumps(report.wire()) for secret in SECRETS)
    (found,) = [f for f in report.sections[0].findings if f.status == "fail"]
    assert found.fix
    return found


def test_a_healthy_installation_is_ok_throughout(
    healthy: dict[str, str], upstream: Upstream, redis: Service, postgres: Service, tmp_path: Path
) -> None:
    environ = {
        **healthy,
        "LOCAL_LLM_BASE_URL": upstream.base_url,
        "OPENAI_COMPATIBLE_GROQ_BASE_URL": f"{upstream.base_url}/openai/v1",
        "OPENAI_COMPATIBLE_GROQ_API_KEY": "gsk-canary-0123456789abcdef",
        "REDIS_URL": redis.url,
        "DATABASE_URL": postgres.url,
    }
    done = doctor(cwd=tmp_path, environ=environ)
    assert done.returncode == 0, done.stdout
    assert not re.search("^fail", done.stdout, re.MULTILINE), done.stdout
    for line in (
        "ok    claude",
        "ok    ollama",
        "ok    groq",
        "the key is accepted",
        "claude-sonnet-5-5, claude-opus-5-5, claude-haiku-5-5: there",
        "Keys can be written, scripts can be run.",
        "can make tables in the schema public and write to them (rolled back)",
        "has no tables yet: they are made at the first start",
        f"Port {environ['PORT']} is free",
        "In step with PostgreSQL, Redis",
    ):
        assert line in done.stdout
    assert "\x1b" not in done.stdout  # no terminal, no colours
    assert upstream.chats == []  # it costs nothing


def test_without_any_settings_it_says_what_to_set_first(tmp_path: Path) -> None:
    done = doctor("--only", "settings,keys,claude", cwd=tmp_path, environ={})
    assert done.returncode == 2
    assert "GATEWAY_API_KEY is not set" in done.stdout
    assert "openssl rand -hex 32" in done.stdout
    assert "No provider is configured" in done.stdout
    assert "`gw serve` will not start" in done.stdout


def test_settings_come_from_the_same_file_as_for_serve(healthy: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "production.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in healthy.items()))
    file.chmod(0o644)
    done = doctor("--env-file", str(file), "--only", "settings,keys,claude", cwd=tmp_path, environ={})
    assert done.returncode == 0, done.stdout
    assert "the key is accepted" in done.stdout
    assert f"chmod 600 {file}" in done.stdout
    missing = doctor("--env-file", "nowhere.env", cwd=tmp_path, environ={})
    assert missing.returncode == 2
    assert "nowhere.env" in missing.stderr


def test_wrong_usage_is_told_apart(tmp_path: Path) -> None:
    done = doctor("--only", "teeth", cwd=tmp_path, environ={})
    assert done.returncode == 2
    assert "teeth" in done.stderr
    assert "keys, claude, ollama" in done.stderr
    assert doctor("--timeout", "-1", cwd=tmp_path, environ={}).returncode == 2


def test_a_refused_key_and_a_wrong_address_of_claude(healthy: dict[str, str], upstream: Upstream) -> None:
    upstream.script({"path": "/v1/models", "status": 401, "message": f"invalid x-api-key {CLAUDE}"})
    assert "The key is refused (HTTP 401)" in failure("claude", healthy).text
    closed = {**healthy, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    refused = failure("claude", closed).text
    assert "127.0.0.1:9 cannot be connected to: connection refused" in refused


@pytest.mark.parametrize("transport", ["engine", "httpx"])
def test_both_transports_tell_refused_from_unresolved_from_no_tls(
    transport: str, healthy: dict[str, str], upstream: Upstream
) -> None:
    def claude_at(url: str) -> str:
        changed = {**healthy, "GATEWAY_HTTP_TRANSPORT": transport, "ANTHROPIC_BASE_URL": url}
        return failure("claude", changed).text

    assert "cannot be connected to" in claude_at("http://127.0.0.1:9")
    assert "cannot be resolved" in claude_at("http://claude.invalid")
    assert "TLS with 127.0.0.1" in claude_at(upstream.base_url.replace("http:", "https:"))


def test_an_upstream_that_hangs_is_bounded_by_the_time_out(healthy: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {**healthy, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        done = doctor("--json", "--timeout", "1", "--only", "claude", cwd=tmp_path, environ=environ)
    assert done.returncode == 1
    assert "did not answer within 0.5 s" in findings(done, "claude")[0]["text"]
    assert json.loads(done.stdout)["seconds"] < 30  # not the 120 s of the gateway's own time-out


def test_a_running_gateway_on_the_port_is_recognised_and_another_program_is_not(
    healthy: dict[str, str], gateway: Gateway, tmp_path: Path
) -> None:
    done = doctor("--only", "limits", cwd=tmp_path, environ={**healthy, "PORT": str(gateway.port)})
    assert done.returncode == 0
    assert f"runs at {gateway.base_url} already" in done.stdout
    with socket.create_server(("127.0.0.1", 0)) as other:
        environ = {**healthy, "PORT": str(other.getsockname()[1])}
        done = doctor("--timeout", "1", "--only", "limits", cwd=tmp_path, environ=environ)
    assert done.returncode == 1
    assert "set PORT to a free port" in done.stdout


# -- Redis -------------------------------------------------------------------------------------------


def test_redis_that_is_not_there_or_refuses_the_password(healthy: dict[str, str], redis: Service) -> None:
    def text(url: str) -> str:
        return failure("redis", {**healthy, "REDIS_URL": url}).text

    assert "Nothing listens at 127.0.0.1:9." in text("redis://:canary-pass@127.0.0.1:9")
    assert "refuses the password" in text(f"redis://:canary-wrong@127.0.0.1:{redis.port}/0")
    assert "refuses the password" in text(f"redis://127.0.0.1:{redis.port}/0")  # none where one is needed
    assert "cannot be resolved" in text("redis://cache.invalid")
    for wrong in ("http://:canary@127.0.0.1", "redis://:canary@127.0.0.1:port"):  # the settings refuse it
        report = examine({**healthy, "REDIS_URL": wrong}, only=["redis"])
        assert report.exit_code == 2
        assert "REDIS_URL='…' is not valid" in str(report)
        assert "canary" not in str(report)
    without_tls = f"rediss://:{PASSWORD}@127.0.0.1:{redis.port}/0"
    assert "try redis://" in failure("redis", {**healthy, "REDIS_URL": without_tls}).fix


def test_redis_that_hangs_is_told_within_its_bound(
    healthy: dict[str, str], redis: Service, tmp_path: Path
) -> None:
    with redis.frozen():
        environ = {**healthy, "REDIS_URL": redis.url}
        done = doctor("--json", "--only", "redis", cwd=tmp_path, environ=environ)
    assert "does not answer within 1 s" in findings(done, "redis")[-1]["text"]
    assert json.loads(done.stdout)["seconds"] < 15  # redis-py's own defaults take a minute


def test_redis_that_refuses_to_write_is_found(healthy: dict[str, str], tmp_path: Path) -> None:
    with running_redis("--maxmemory", "100kb") as full:
        environ = {**healthy, "REDIS_URL": full.url}
        done = doctor("--json", "--only", "redis", cwd=tmp_path, environ=environ)
    texts = {f["status"]: f["text"] for f in findings(done, "redis")}
    assert "maxmemory-policy is noeviction" in texts["warn"]
    assert "Redis is full" in texts["fail"]
    with running_redis("--replicaof", "127.0.0.1", "9") as replica:
        found = failure("redis", {**healthy, "REDIS_URL": replica.url})
    assert "is a replica" in found.text


# -- PostgreSQL --------------------------------------------------------------------------------------


def test_postgres_that_is_not_there_or_lets_nobody_in(healthy: dict[str, str], postgres: Service) -> None:
    def text(url: str) -> str:
        return failure("postgres", {**healthy, "DATABASE_URL": url}).text

    at = f"127.0.0.1:{postgres.port}"
    assert "Nothing listens at 127.0.0.1:9." in text("postgresql://gateway:canary-pass@127.0.0.1:9/gateway")
    assert "refuses the password" in text(f"postgresql://gateway:canary-wrong@{at}/gateway")
    assert "refuses the password" in text(f"postgresql://nobody:{PASSWORD}@{at}/gateway")
    assert 'Database "missing" does not exist' in text(f"postgresql://gateway:{PASSWORD}@{at}/missing")
    assert "cannot be resolved" in text("postgresql://gateway@db.invalid/gateway")
    assert "cannot be read" in text("postgresql://gateway:canary/pass@db:port/gateway")


def test_postgres_that_hangs_is_told_within_its_bound(
    healthy: dict[str, str], postgres: Service, tmp_path: Path
) -> None:
    with postgres.frozen():
        environ = {**healthy, "DATABASE_URL": postgres.url}
        done = doctor("--json", "--only", "postgres", cwd=tmp_path, environ=environ)
    assert "does not answer within 2 s" in findings(done, "postgres")[-1]["text"]
    assert json.loads(done.stdout)["seconds"] < 15


def test_a_user_who_may_not_make_tables_is_told_the_grant_that_mends_it(
    healthy: dict[str, str], postgres: Service, tmp_path: Path
) -> None:
    statement(postgres, f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    statement(postgres, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = postgres.url.replace("//gateway:", "//reader:")
    found = failure("postgres", {**healthy, "DATABASE_URL": url})
    assert "reader may not make tables in the schema public" in found.text
    grant = found.fix.partition("  (")[0]
    statement(postgres, grant)
    done = doctor("--only", "postgres", cwd=tmp_path, environ={**healthy, "DATABASE_URL": url})
    assert done.returncode == 0, done.stdout


def test_the_examination_leaves_nothing_in_the_stores(
    healthy: dict[str, str], redis: Service, postgres: Service, tmp_path: Path
) -> None:
    environ = {**healthy, "REDIS_URL": redis.url, "DATABASE_URL": postgres.url}
    assert doctor("--only", "redis,postgres", cwd=tmp_path, environ=environ).returncode == 0
    # Fails when there is any table.
    statement(
        postgres,
        "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public'); END $$",
    )
    with socket.create_connection(("127.0.0.1", redis.port), 5) as raw:
        raw.sendall(f"AUTH {PASSWORD}\r\nDBSIZE\r\n".encode())
        answer = b""
        while answer.count(b"\r\n") < 2:
            answer += raw.recv(1024)
    assert answer == b"+OK\r\n:0\r\n"


# -- On a terminal -----------------------------------------------------------------------------------


def on_a_terminal(tmp_path: Path, environ: dict[str, str]) -> str:
    """What a terminal of its own receives."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gw", "doctor", "--timeout", "2", "--only", "keys,claude"],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(ROOT), TERM="xterm", **environ),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received = b""
    try:
        while piece := os.read(ours, 65536):
            received += piece
    except OSError:  # Linux says EIO when the other side is closed
        pass
    finally:
        os.close(ours)
    process.wait(30)
    return received.decode()


def test_a_terminal_gets_colours_and_sees_what_is_waited_for(healthy: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {**healthy, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        colourful = on_a_terminal(tmp_path, environ)
        plain = on_a_terminal(tmp_path, {**environ, "NO_COLOR": "1"})
    assert "waiting for claude" in colourful
    assert "\x1b[1;31mfail\x1b[0m" in colourful
    assert "\x1b[32mok" in colourful
    assert "waiting for claude" in plain
    assert not re.search(r"\x1b\[[0-9;]*m", plain)
