"""`gw serve` as an operator meets it: start, refusals to start, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

from .conftest import settings_for
from .gateway import ADMIN_KEY, KEY, ROOT, Gateway, clean_environment, free_port, running_gateway
from .upstream import Upstream


def gw(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gw", *arguments],
        cwd=cwd,
        env=clean_environment(PYTHONPATH=str(ROOT), **environment),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("key", [None, "", "short"])
def test_without_a_proper_key_it_exits_and_names_the_variable(key: str | None, tmp_path: Path) -> None:
    done = gw("serve", cwd=tmp_path, **({} if key is None else {"GATEWAY_API_KEY": key}))
    assert done.returncode != 0
    assert "GATEWAY_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_value_is_named_with_its_fix(tmp_path: Path) -> None:
    done = gw("serve", cwd=tmp_path, GATEWAY_API_KEY=KEY, PORT="eighty", LOG_LEVEL="loud")
    assert done.returncode == 2
    assert "PORT='eighty'" in done.stderr
    assert "LOG_LEVEL='loud'" in done.stderr


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = gw("serve", cwd=tmp_path, GATEWAY_API_KEY=KEY, PORT=str(port))
    assert done.returncode == 1
    assert f"PORT={port} is in use" in done.stderr


def test_the_summary_says_what_is_on_and_off_and_masks_keys(tmp_path: Path) -> None:
    done = gw(
        "serve",
        "--check",
        cwd=tmp_path,
        GATEWAY_API_KEY=KEY,
        ANTHROPIC_API_KEY="sk-ant-canary-0123456789abcdef",
        REDIS_URL="redis://canary-host",
    )
    assert done.returncode == 0
    assert "on    claude" in done.stdout
    assert "off   local models LOCAL_LLM_BASE_URL is not set" in done.stdout
    assert "in Redis (REDIS_URL)" in done.stdout
    assert KEY not in done.stdout
    assert "canary" not in done.stdout


def test_settings_come_from_a_dotenv_file_below_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"GATEWAY_API_KEY={KEY}\nPORT=7001\nRATE_LIMIT_RPM=5\n")
    done = gw("serve", "--check", cwd=tmp_path, PORT="7002")
    assert "http://127.0.0.1:7002" in done.stdout
    assert "5 requests/minute" in done.stdout


def test_a_dotenv_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"GATEWAY_API_KEY={KEY}\n", encoding="utf-8-sig")
    assert gw("serve", "--check", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_dotenv_file_that_is_no_utf8_is_said_in_a_sentence(encoding: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"GATEWAY_API_KEY={KEY}\nDEFAULT_MODEL=é\n", encoding=encoding)
    done = gw("serve", "--check", cwd=tmp_path)
    assert done.returncode == 2
    assert ".env cannot be read: it is not UTF-8 text" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_without_unicode_stops_nothing(tmp_path: Path) -> None:
    for command in (("serve", "--help"), ("serve", "--check"), ("doctor", "--help")):
        done = gw(*command, cwd=tmp_path, GATEWAY_API_KEY=KEY, PYTHONIOENCODING="ascii:strict")
        assert done.returncode == 0, done.stderr


def test_the_help_lists_the_environment(tmp_path: Path) -> None:
    done = gw("serve", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in ("GATEWAY_API_KEY", "ANTHROPIC_API_KEY", "TOOL_RESULT_MAX_CHARS", "[40000]"):
        assert name in done.stdout


def test_health_needs_no_key_and_everything_else_does(gateway: Gateway) -> None:
    for path in ("/live", "/ready", "/health"):
        assert gateway.get(path)[0] == 200
    for path in (
        "/",
        "/v1/models",
        "/v1/chat/completions",
        "/admin",
        "/admin/metrics",
        "/nowhere",
        "/LIVE/x",
    ):
        status, body = gateway.get(path)
        assert status == 401, path
        assert json.loads(body)["error"]["code"] == "invalid_api_key"


def test_the_clients_key_does_not_open_admin_nor_the_admins_key_the_api(gateway: Gateway) -> None:
    for path in ("/admin/metrics", "/ADMIN/metrics", "//admin/metrics"):
        assert gateway.get(path, **{"x-api-key": KEY})[0] == 401, path
    assert gateway.get("/v1/models", **{"x-api-key": ADMIN_KEY})[0] == 401
    assert gateway.get("/admin/metrics", **{"x-api-key": ADMIN_KEY})[0] == 200
    assert gateway.get("/admin/metrics", Authorization=f"Bearer {ADMIN_KEY}")[0] == 200


def test_every_spelling_of_the_key_header_is_accepted(gateway: Gateway) -> None:
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}, {"api-key": KEY}):
        assert gateway.get("/v1/models", **headers)[0] == 200


def test_an_unknown_path_is_a_json_404(gateway: Gateway) -> None:
    status, body = gateway.get("/v1/nothing", **{"x-api-key": KEY})
    assert status == 404
    assert json.loads(body)["error"]["code"] == "unknown_url"


def test_admin_is_closed_without_its_key(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream, ADMIN_API_KEY="")) as closed:
        status, body = closed.get("/admin/metrics", **{"x-api-key": KEY})
    assert status == 403
    assert "ADMIN_API_KEY" in body


def test_the_rate_limit_answers_429_with_its_headers(upstream: Upstream) -> None:
    def get() -> tuple[int, Message, bytes]:
        request = urllib.request.Request(limited.base_url + "/v1/models", headers={"x-api-key": KEY})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    with running_gateway(**settings_for(upstream, RATE_LIMIT_RPM="3")) as limited:
        answers = [get() for _ in range(10)]
        assert limited.get("/live")[0] == 200
    assert [status for status, _, _ in answers[:3]] == [200, 200, 200]
    assert all(headers["x-ratelimit-limit"] == "3" for _, headers, _ in answers)
    status, headers, body = answers[-1]
    assert status == 429
    assert int(headers["retry-after"]) >= 1
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"


def test_metrics_count_what_happened(gateway: Gateway, upstream: Upstream) -> None:
    labels = {"provider": "anthropic", "model": "claude-haiku-5-5"}
    before = gateway.metric("gateway_requests_total", **labels, status="200")
    upstream.script({"tokens": 12})
    assert chat(gateway, model="haiku")[0] == 200
    assert gateway.metric("gateway_requests_total", **labels, status="200") == before + 1
    assert gateway.metric("gateway_tokens_total", **labels, direction="output") >= 12
    errors = gateway.metric("gateway_upstream_errors_total", code="upstream_overloaded")
    upstream.script({"status": 529})
    assert chat(gateway, model="haiku")[0] == 503
    assert gateway.metric("gateway_upstream_errors_total", code="upstream_overloaded") == errors + 1


def test_no_secret_and_no_content_reaches_the_log(gateway: Gateway, upstream: Upstream) -> None:
    assert chat(gateway, text="canary-of-the-content")[0] == 200
    upstream.script({"status": 401, "message": "invalid x-api-key"})
    assert chat(gateway, text="canary-of-the-content")[0] == 502
    gateway.get("/v1/models?key=canary-of-the-query", **{"x-api-key": "canary-of-a-wrong-key"})
    assert '"path":"/v1/chat/completions"' in gateway.log
    assert KEY not in gateway.log
    assert "canary" not in gateway.log


def test_two_workers_share_metrics_and_limits(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream, WEB_CONCURRENCY="2")) as pair:
        for _ in range(20):
            assert chat(pair)[0] == 200
        for _ in range(5):  # whichever worker answers
            assert pair.metric("gateway_requests_total", provider="anthropic", status="200") == 20


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has batch threads")
def test_a_workers_threads_do_not_interrupt_each_other(gateway: Gateway) -> None:
    """Half of the CPU per request, see docs/decisions/007-speed.md."""
    threads = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    (worker,) = map(int, threads)
    policies = {os.sched_getscheduler(int(t.name)) for t in Path(f"/proc/{worker}/task").iterdir()}
    assert policies == {os.SCHED_BATCH}


def test_sigterm_lets_a_stream_finish(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream)) as leaving:
        text = stop_in_the_middle(leaving, upstream, {"tokens": 30, "delay_ms": 40})
        assert text.endswith("data: [DONE]\n\n")
        assert leaving.process.wait(20) == 0


def test_sigterm_ends_a_stream_at_the_drain_deadline_with_an_error(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream, DRAIN_TIMEOUT_SECONDS="1")) as leaving:
        text = stop_in_the_middle(leaving, upstream, {"tokens": 2000, "delay_ms": 50})
        assert "[DONE]" not in text
        assert '"code":"shutting_down"' in text.rstrip().rsplit("data: ", 1)[1]
        assert leaving.process.wait(20) == 0
    upstream.wait_for(lambda chats: chats[-1]["closed_by_client_at"] is not None)


def test_ctrl_c_stops_an_idle_gateway(upstream: Upstream) -> None:
    with running_gateway(**settings_for(upstream)) as idle:
        assert idle.stop(signal.SIGINT, timeout=10) == 0


def stop_in_the_middle(gateway: Gateway, upstream: Upstream, scenario: dict[str, object]) -> str:
    """Send SIGTERM while a stream runs; the whole text that the client got."""
    upstream.script(scenario)
    received: list[bytes] = []

    def read() -> None:
        with urllib.request.urlopen(chat_request(gateway, stream=True), timeout=30) as answer:
            while piece := answer.read1(65536):
                received.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    upstream.wait_for(lambda chats: bool(chats) and chats[-1]["events_written"] > 3)
    gateway.process.send_signal(signal.SIGTERM)
    reader.join(30)
    assert not reader.is_alive()
    return b"".join(received).decode()


def chat_request(
    gateway: Gateway, *, text: str = "Hi", model: str = "sonnet", stream: bool = False
) -> urllib.request.Request:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    return urllib.request.Request(
        gateway.base_url + "/v1/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )


def chat(gateway: Gateway, *, text: str = "Hi", model: str = "sonnet") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(chat_request(gateway, text=text, model=model), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_demo_answers_its_own_curl_streamed() -> None:
    port = free_port()
    with running_gateway("demo", PORT=str(port)) as demo:
        assert f"curl -N http://127.0.0.1:{port}/v1/chat/completions" in demo.log
        pieces = 0
        request = urllib.request.Request(
            f"{demo.base_url}/v1/chat/completions",
            b'{"model": "sonnet", "stream": true, "messages": [{"role": "user", "content": "Hello!"}]}',
            {"Authorization": "Bearer demo-key-not-a-secret", "Content-Type": "application/json"},
        )
        text = b""
        with urllib.request.urlopen(request, timeout=20) as answer:
            while piece := answer.read1(65536):
                pieces += 1
                text += piece
        assert pieces > 3
        assert text.endswith(b"data: [DONE]\n\n")
        events = [json.loads(e[6:]) for e in text.decode().split("\n\n") if e.startswith("data: {")]
        said = "".join(e["choices"][0]["delta"].get("content", "") for e in events)
        assert "You said: \u201cHello!\u201d" in said


@pytest.mark.parametrize("example", ["chat.py", "tools.py"])
def test_the_examples_run_against_the_demo(example: str) -> None:
    with running_gateway("demo") as demo:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / example)],
            env=clean_environment(GATEWAY_URL=demo.base_url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 20
