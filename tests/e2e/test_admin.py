"""The admin API of a running gateway: from the first project to its bill, over both databases; ADMIN_PORT."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

from gw.settings import Ledger
from tests.databases import environment_of

from .conftest import settings_for
from .gateway import ADMIN_KEY, KEY, Gateway, free_port, running_gateway, wait_until_live
from .upstream import Upstream

MODEL = "claude-haiku-4-5"


class Admin:
    """The admin API of ``gateway``."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(
            self.gateway.base_url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"x-api-key": ADMIN_KEY, "content-type": "application/json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def made(self, path: str, body: Any) -> Any:
        status, text = self.ask("POST", path, body)
        assert status == 201, text
        return json.loads(text)

    def rows(self, path: str) -> list[dict[str, Any]]:
        status, text = self.ask("GET", path)
        assert status == 200, text
        found: list[dict[str, Any]] = json.loads(text)["rows"]
        return found


def eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def gateway_with_projects(upstream: Upstream, **more: str) -> Iterator[Gateway]:
    environment = settings_for(upstream, ENABLE_MULTI_PROJECT="1", KEY_PEPPER="e2e-pepper-0123456789abcdef")
    with running_gateway(**{**environment, **more}) as gateway:
        yield gateway


def test_from_the_first_project_to_its_bill(upstream: Upstream, database: Ledger) -> None:
    """Traffic of OpenAI's SDK through a key of a project: the reports tell what the SDK was told."""
    with gateway_with_projects(upstream, **environment_of(database)) as gateway:
        admin = Admin(gateway)
        assert eventually(lambda: admin.ask("GET", "/admin/projects")[0] == 200)
        budget = {"daily_budget_usd": "5", "monthly_budget_usd": "50.25"}
        admin.made("/admin/projects", {"id": "team-a", "name": "=Team A", **budget})
        key = admin.made("/admin/projects/team-a/keys", {"name": "laptop"})
        told: list[Any] = []
        with openai.OpenAI(base_url=f"{gateway.base_url}/v1", api_key=key["key"], max_retries=0) as client:
            for number in range(3):
                message: Any = {"role": "user", "content": f"Question {number} [sim tokens={20 + number}]"}
                whole = client.chat.completions.create(model=MODEL, messages=[message], max_tokens=200)
                told.append(whole.usage)
                stream = client.chat.completions.create(
                    model=MODEL,
                    messages=[message],
                    max_tokens=200,
                    stream=True,
                    stream_options={"include_usage": True},
                )
                told += [chunk.usage for chunk in stream if chunk.usage is not None]
            upstream.script({"status": 529})
            with pytest.raises(openai.APIStatusError):
                client.chat.completions.create(model=MODEL, messages=[message], max_tokens=200)
        assert len(told) == 6

        def usage() -> dict[str, Any]:
            found = admin.rows(f"/admin/usage?group_by=project,key,model&key={key['id']}")
            ours = [row for row in found if row["model"].startswith(MODEL)]
            return ours[0] if ours else {"requests": 0}

        assert eventually(lambda: usage()["requests"] == 7), gateway.log
        row = usage()
        assert (row["project"], row["streams"], row["errors"]) == ("team-a", 3, 1)
        assert row["input_tokens"] == sum(one.prompt_tokens for one in told)
        assert row["output_tokens"] == sum(one.completion_tokens for one in told)
        assert row["unknown_price_requests"] == 0
        cost = Decimal(row["cost_usd"])
        assert cost > 0
        assert int(cost * 10**9) == row["cost_nano"]

        (costs,) = [r for r in admin.rows("/admin/costs") if r["project"] == "team-a"]
        assert costs["cost_usd"] == row["cost_usd"]
        day, month = costs["budgets"]
        for one, size in ((day, "5"), (month, "50.25")):
            assert Decimal(one["spent_usd"]) == cost
            assert Decimal(one["left_usd"]) == Decimal(size) - cost

        status, text = admin.ask("GET", "/admin/usage?group_by=project,key,model", accept="text/csv")
        assert status == 200
        (line,) = [r for r in csv.DictReader(io.StringIO(text, newline="")) if r["key"] == key["id"]]
        assert (line["cost_usd"], line["input_tokens"]) == (row["cost_usd"], str(row["input_tokens"]))

        (failed,) = admin.rows("/admin/errors")
        assert (failed["provider"], failed["requests"]) == ("anthropic", 1)
        actions = [change["action"] for change in admin.rows("/admin/audit?subject=project:team-a")]
        assert actions == ["project.create"]
        assert json.loads(admin.ask("GET", "/admin/ledger")[1])["state"] == "recording"
        assert gateway.metric("gateway_tokens_total", direction="output") == row["output_tokens"]
        assert abs(gateway.metric("gateway_cost_usd_total") - float(cost)) < 1e-9

        assert json.loads(admin.ask("DELETE", f"/admin/keys/{key['id']}")[1])["status"] == "revoked"
        bearer = {"Authorization": f"Bearer {key['key']}"}
        assert eventually(lambda: gateway.get("/v1/models", **bearer)[0] == 401, 5)
        secret = key["key"].rpartition("_")[2]
        assert secret not in gateway.log


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_admin_port_serves_admin_and_the_main_port_does_not(upstream: Upstream, database: Ledger) -> None:
    port = free_port()
    environment = {**environment_of(database), "ADMIN_PORT": str(port), "WEB_CONCURRENCY": "2"}
    with gateway_with_projects(upstream, **environment) as gateway:
        own = replace(gateway, base_url=f"http://127.0.0.1:{port}")
        wait_until_live(own)
        admin, main = Admin(own), Admin(gateway)
        for path in ("/live", "/ready", "/health"):
            assert own.get(path)[0] == gateway.get(path)[0] == 200
        admin.made("/admin/projects", {"id": "team-a"})
        key = admin.made("/admin/projects/team-a/keys", {"name": "ci"})["key"]
        bearer = {"Authorization": f"Bearer {key}"}
        assert eventually(lambda: gateway.get("/v1/models", **bearer)[0] == 200)
        assert own.get("/v1/models", **bearer)[0] == 401
        assert own.get("/v1/models", **{"x-api-key": ADMIN_KEY})[0] == 404
        assert own.get("/admin/projects", **{"x-api-key": KEY})[0] == 401
        assert main.ask("GET", "/admin/projects")[0] == 404
        assert main.ask("GET", "/admin/metrics")[0] == 404
        assert own.metric("gateway_requests_total", provider="none") > 0
        assert gateway.stop() == 0
        with pytest.raises(OSError, match=r"[Rr]efused"):
            own.get("/live")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked up in /proc")
def test_the_server_of_the_admin_port_comes_back_and_outlives_nobody(
    upstream: Upstream, database: Ledger
) -> None:
    port = free_port()
    with gateway_with_projects(upstream, **environment_of(database), ADMIN_PORT=str(port)) as gateway:
        own = replace(gateway, base_url=f"http://127.0.0.1:{port}")
        wait_until_live(own)
        (first,) = _servers(gateway.process.pid)
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: _servers(gateway.process.pid) not in ([], [first]))
        wait_until_live(own)
        assert gateway.get("/live")[0] == 200
        (second,) = _servers(gateway.process.pid)

        gateway.process.kill()
        gateway.process.wait()
        assert eventually(lambda: not Path(f"/proc/{second}").exists())
        assert eventually(lambda: _is_free(port))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_another_server_serves_admin_alone(upstream: Upstream, database: Ledger) -> None:
    environment = {**settings_for(upstream), **environment_of(database)}
    command = ("--factory", "gw.admin_server:from_environment", "--port", "{port}")
    with running_gateway(*command, module="uvicorn", **environment) as gateway:
        admin = Admin(gateway)
        assert admin.rows("/admin/usage") == []
        assert admin.ask("GET", "/admin/metrics")[0] == 200
        assert gateway.get("/admin/usage")[0] == 401
        assert gateway.get("/v1/models", **{"x-api-key": ADMIN_KEY})[0] == 404


def _servers(parent: int) -> list[int]:
    """Ids of the children of ``parent`` that serve the admin port."""
    found = []
    threads = Path(f"/proc/{parent}/task").glob("*/children")  # each thread has children of its own
    for child in (child for thread in threads for child in thread.read_text().split()):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"gw.admin_server" in command:
            found.append(int(child))
    return found


def _is_free(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=1).close()
    except OSError:
        return True
    return False
