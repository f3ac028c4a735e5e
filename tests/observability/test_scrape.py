"""A scrape of real gateways: it agrees with the ledger to the last token, and with whatever reads it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.e2e.conftest import others_at, settings_for
from tests.e2e.gateway import ADMIN_KEY, KEY, ROOT, Gateway, free_port, running_gateway, wait_until_live
from tests.e2e.test_workers import children, eventually
from tests.e2e.upstream import Upstream, running_upstream

ALERTS, DASHBOARD = ROOT / "docs" / "alerts.yml", ROOT / "docs" / "grafana" / "gateway.json"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (of Prometheus) is not on the PATH")
MESSAGES = [{"role": "user", "content": "Hello! " * 60}]
CHAT = {"model": "sonnet", "messages": MESSAGES}
#: (path, body); a few of everything that can become of a request.
MIXED: list[tuple[str, Any]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/messages", {**CHAT, "model": "haiku", "max_tokens": 20, "stream": True}),
    ("/v1/messages", {**CHAT, "model": "opus", "max_tokens": 20}),
    ("/v1/responses", {"model": "sonnet", "input": "Hi"}),
    ("/v1/embeddings", {"model": "local:nomic-embed-text", "input": "Hi"}),
    ("/v1/chat/completions", {**CHAT, "model": "local"}),
    ("/v1/chat/completions", {**CHAT, "model": "nobody-knows-it"}),
    ("/v1/chat/completions", {**CHAT, "messages": 7}),
    ("/v1/messages/count_tokens", CHAT),
    ("/chat", {"message": "Hi"}),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


def settings(upstream: Upstream, folder: Path, **more: str) -> dict[str, str]:
    return settings_for(
        upstream,
        **{
            "WEB_CONCURRENCY": "2",
            "LEDGER_ENABLED": "1",
            "DATA_DIR": str(folder),
            "USER_MSG_MAX_CHARS": "200",  # so that a layer saves something
            **more,
        },
        **others_at(upstream),
    )


def post(gateway: Gateway, path: str, body: Any, key: str = KEY) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)) as connection:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def leave(gateway: Gateway) -> None:
    """Ask for a stream, and go as soon as it has begun."""
    body = json.dumps({**CHAT, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(body), body)
        )
        client.recv(100)


def page(gateway: Gateway) -> str:
    status, text = gateway.get("/admin/metrics", **{"x-api-key": ADMIN_KEY})
    assert status == 200
    return text


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def rows(folder: Path, columns: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "gateway.db", timeout=10)) as database:
        return database.execute(f"SELECT {columns} FROM requests").fetchall()


def counted(text: str, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for sample in samples(text):
        if sample.name == name and sample.value:
            found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
    return found


def assert_agreed(gateway: Gateway, folder: Path) -> None:
    """Every count of the scrape is the ledger's, but for requests whose worker was killed and counts none."""
    text, known = page(gateway), "aborted <> 'killed'"
    seen = counted(text, "gateway_requests_total", "provider", "model", "status")
    asked = Counter({key: count for key, count in seen.items() if key[1] != "none"})
    written = rows(folder, "provider, model, status, cost_nano, " + ", ".join(TOKENS) + f", {known}")
    written = [row for row in written if row[-1]]
    assert asked == Counter((row[0], row[1], str(row[2])) for row in written if row[0])
    # Those that named no model that there is.
    for status in ("400", "404"):
        assert seen["none", "none", status] == sum(
            1 for row in written if not row[0] and row[2] == int(status)
        )
    tokens: Counter[tuple[str, ...]] = Counter()
    for provider, model, _, _, *counts in written:
        for direction, count in zip(TOKENS.values(), counts, strict=False):
            if count:
                tokens[provider, model, direction] += count
    assert counted(text, "gateway_tokens_total", "provider", "model", "direction") == tokens
    dollars = sum(s.value for s in samples(text) if s.name == "gateway_cost_usd_total")
    assert round(dollars * 10**9) == sum(row[3] or 0 for row in written)
    assert counted(text, "gateway_ledger_rows_total")[()] == len(rows(folder, "id"))


#: Columns of the ledger -> directions of the metrics.
TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_5m_tokens": "cache_write",
    "cache_write_1h_tokens": "cache_write",
}


def recorded(gateway: Gateway, count: int) -> bool:
    return eventually(lambda: gateway.metric("gateway_ledger_rows_total") >= count, 30)


@pytest.fixture(scope="module")
def busy(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path, int]]:
    """A gateway of two workers after a mixed run; where its ledger is, and how many rows that has."""
    folder = tmp_path_factory.mktemp("busy")
    with running_gateway(**settings(upstream, folder, ENABLE_MULTI_PROJECT="1")) as gateway:
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda wish: post(gateway, *wish), MIXED * 8))
            list(pool.map(lambda _: leave(gateway), range(8)))
        assert {200, 400, 404} <= set(statuses)
        upstream.script({"status": 529}, {"status": 401})
        assert {post(gateway, "/v1/chat/completions", CHAT) for _ in range(2)} == {503, 502}
        assert post(gateway, "/v1/chat/completions", CHAT, key="wrong-key-0123456789abcdef") == 401
        count = (len(MIXED) - 1) * 8 + 8 + 2
        assert recorded(gateway, count), gateway.log
        yield gateway, folder, count


@pytest.fixture(scope="module")
def scraped(busy: tuple[Gateway, Path, int]) -> str:
    return page(busy[0])


def test_two_workers_count_what_the_ledger_holds_to_the_token(busy: tuple[Gateway, Path, int]) -> None:
    gateway, folder, count = busy
    assert len(rows(folder, "id")) == count
    assert_agreed(gateway, folder)


def test_a_killed_worker_takes_no_count_with_it(upstream: Upstream, tmp_path: Path) -> None:
    with running_gateway(**settings(upstream, tmp_path)) as gateway:
        assert eventually(lambda: len(children(gateway.process.pid)) >= 3)  # two workers and the recorder
        with ThreadPoolExecutor(8) as pool:
            before = list(pool.map(lambda wish: post(gateway, *wish), MIXED * 4))
        upstream.reset()
        upstream.script(*[{"tokens": 100, "delay_ms": 20} for _ in range(8)])

        def stream() -> str:
            try:
                return str(post(gateway, "/v1/chat/completions", {**CHAT, "stream": True}))
            except (OSError, http.client.HTTPException):
                return "cut"

        with ThreadPoolExecutor(8) as pool:
            streams = [pool.submit(stream) for _ in range(8)]
            upstream.wait_for(lambda chats: len(chats) == 8 and all(c["events_written"] > 3 for c in chats))
            workers = [pid for pid in children(gateway.process.pid) if is_worker(pid)]
            os.kill(workers[0], signal.SIGKILL)
            ends = Counter(stream.result() for stream in streams)
        assert eventually(lambda: len([p for p in children(gateway.process.pid) if is_worker(p)]) == 2)
        after = [post(gateway, "/v1/chat/completions", CHAT) for _ in range(10)]
        assert recorded(gateway, len(before) - 4 + 8 + len(after)), gateway.log
        killed = rows(tmp_path, "aborted").count(("killed",))
        assert killed == ends["cut"]
        assert_agreed(gateway, tmp_path)


def is_worker(pid: int) -> bool:
    try:
        return b"gw.ledger" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_database_and_a_redis_that_are_away_stop_no_traffic_and_are_seen(
    upstream: Upstream, tmp_path: Path
) -> None:
    away = {
        "DATABASE_URL": "postgresql://gateway:canary-password@127.0.0.1:9/gateway",
        "REDIS_URL": "redis://:canary-password@127.0.0.1:9/0",
        "ENABLE_MULTI_PROJECT": "1",
        "KEY_PEPPER": "canary-pepper-0123456789abcdef",
    }
    with running_gateway(**settings(upstream, tmp_path, **away)) as gateway:
        assert post(gateway, "/v1/chat/completions", CHAT) == 200
        assert eventually(lambda: json.loads(gateway.get("/health")[1])["ledger"] == "behind")
        assert gateway.get("/ready")[0] == 200
        assert post(gateway, "/v1/chat/completions", CHAT) == 200
        assert eventually(lambda: gateway.metric("gateway_ledger_backlog_bytes") > 0)
        text = page(gateway)
        values = {sample.name: sample.value for sample in samples(text)}
        assert values["gateway_ledger_up"] == values["gateway_keys_up"] == 0
        assert values["gateway_ledger_recorder_up"] == 1
        assert values["gateway_ratelimit_degraded_total"] == 2
        assert "canary" not in text + gateway.get("/health")[1] + gateway.log


def test_a_port_of_its_own_tells_the_workers_counts_and_the_ledgers_state(
    upstream: Upstream, tmp_path: Path
) -> None:
    port = free_port()
    with running_gateway(**settings(upstream, tmp_path, ADMIN_PORT=str(port))) as gateway:
        admin = replace(gateway, base_url=f"http://127.0.0.1:{port}")
        wait_until_live(admin)
        assert [post(gateway, "/v1/chat/completions", CHAT) for _ in range(6)] == [200] * 6
        assert recorded(admin, 6)
        assert admin.metric("gateway_requests_total", provider="anthropic") == 6
        assert json.loads(admin.get("/health")[1])["ledger"] == "ok"
        assert gateway.get("/admin/metrics", **{"x-api-key": ADMIN_KEY})[0] == 404


def test_no_name_of_a_callers_invention_becomes_a_label(upstream: Upstream, tmp_path: Path) -> None:
    with running_gateway(**settings(upstream, tmp_path)) as gateway:
        for number in range(5):
            for wish in (
                {**CHAT, "model": f"claude-invented-{number}"},
                {**CHAT, "model": f"sim:invented-{number}"},
                {**CHAT, "model": f"local:invented-{number}"},
                {**CHAT, "model": f"invented-{number}"},
                {**CHAT, "model": "sonnet", "provider": f"invented-{number}"},
            ):
                post(gateway, "/v1/chat/completions", wish)
                post(gateway, "/v1/messages", {**wish, "max_tokens": 5})
        upstream.script(*[{"status": 500}] * 4)
        for number in range(4):  # not refused as unknown, but broken
            post(gateway, "/v1/chat/completions", {**CHAT, "model": f"claude-invented-{number}"})
        text = page(gateway)
        assert "invented" not in text
        assert counted(text, "gateway_requests_total", "model")[("other",)] > 0


@needs_promtool
def test_prometheus_has_nothing_to_say_against_a_scrape_in_which_every_series_has_samples(
    scraped: str,
) -> None:
    families = list(text_string_to_metric_families(scraped))
    # The breaker is not built yet.
    assert {f.name for f in families if not f.samples} <= {"gateway_circuit_state"}
    done = promtool("check", "metrics", stdin=scraped)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_promtool
def test_the_alert_rules_are_right_and_fire_when_they_should() -> None:
    checked = promtool("check", "rules", str(ALERTS))
    assert checked.returncode == 0, checked.stderr
    tested = promtool("test", "rules", str(Path(__file__).parent / "alerts.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_test_a_severity_and_words() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    tests = (Path(__file__).parent / "alerts.yml").read_text()
    for rule in rules:
        assert tests.count(rule["alert"]) >= 2, rule["alert"]  # silent and firing
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}


def expressions() -> list[str]:
    """Every expression of the alerts and of the dashboard, variables filled in as Grafana would."""
    found = [
        rule["expr"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]
    dashboard = json.loads(DASHBOARD.read_text())
    found += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [v["definition"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    assert len(found) > 30
    filled = {"$instance": ".*", "$__rate_interval": "5m", "$__range": "1h"}
    return [re.sub(r"\$\w+", lambda name: filled[name[0]], text) for text in found]


def test_alerts_and_dashboard_use_only_series_and_labels_that_exist(scraped: str) -> None:
    labels: dict[str, set[str]] = {}
    for sample in samples(scraped):
        # Prometheus itself adds where it has scraped it.
        labels.setdefault(sample.name, {"instance", "job"}).update(sample.labels)
    for text in expressions():
        used = re.findall(r"(gateway_\w+)(?:\{([^}]*)\})?", text)
        assert used, text
        allowed = set.union(*(labels[name] for name, _ in used))
        for name, selector in used:
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
                assert label in labels[name], f"{name} has no {label}: {text}"
        for grouped in re.findall(r"\bby \(([^)]*)\)", text):
            assert {label.strip() for label in grouped.split(",")} <= allowed, text


def test_whatever_is_counted_is_shown_or_watched_or_explained(scraped: str) -> None:
    names = {re.sub("_(bucket|sum|count)$", "", sample.name) for sample in samples(scraped)}
    explained = (ROOT / "docs" / "metrics.md").read_text()
    assert not [name for name in names if f"`{name}" not in explained]


@needs_promtool
def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    queries = [text for text in expressions() if not text.startswith("label_values")]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", "--lint=none", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [v["name"] for v in dashboard["templating"]["list"]] == ["datasource", "instance"]


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run(
        [PROMTOOL, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
