"""``fly.toml``: known keys only, values of the right kind, and in step with the image and the gateway."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from gw.app import PUBLIC
from gw.doctor.limits import longest_stop
from gw.settings import load
from gw.variables import BY_NAME
from tests.e2e.gateway import KEY, ROOT

from .fly_schema import MAX_KILL_TIMEOUT_SECONDS, MAX_SHARED_MB_PER_CPU, SIZES, problems, seconds

TEXT = (ROOT / "fly.toml").read_text()
FLY: dict[str, Any] = tomllib.loads(TEXT)
SERVICE = FLY["http_service"]


def test_every_key_is_one_that_fly_knows_and_every_value_of_its_kind() -> None:
    assert list(problems(FLY)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ('kill_signal = "SIGTERM"', 'kill_sigal = "SIGTERM"', "kill_sigal: no such key"),
        ('kill_signal = "SIGTERM"', 'kill_signal = "TERM"', "kill_signal: 'TERM'"),
        ('kill_timeout = "45s"', 'kill_timeout = "45"', "kill_timeout: '45'"),
        ("soft_limit = 200", "soft_limits = 200", "http_service.concurrency.soft_limits: no such key"),
        ('type = "requests"', 'type = "request"', "http_service.concurrency.type: 'request'"),
        ("[[http_service.checks]]", "[http_service.checks]", "http_service.checks: to be written [["),
        ('path = "/live"', 'path = "live"', "http_service.checks[0].path: 'live'"),
        ('WEB_CONCURRENCY = "1"', "WEB_CONCURRENCY = 1", "env: {"),
        ('memory = "512mb"', 'memory = "512 MB"', "vm[0].memory: '512 MB'"),
    ],
)
def test_a_typing_error_is_noticed(right: str, wrong: str, place: str) -> None:
    assert right in TEXT
    found = list(problems(tomllib.loads(TEXT.replace(right, wrong, 1))))
    assert len(found) == 1
    assert found[0].startswith(place)


def test_it_stops_the_gateway_by_draining_it_and_waits_for_the_end() -> None:
    settings = load({"GATEWAY_API_KEY": KEY, **FLY["env"]})
    timeout = seconds(FLY["kill_timeout"])
    assert FLY["kill_signal"] == "SIGTERM"
    assert timeout is not None
    assert longest_stop(settings) < timeout <= MAX_KILL_TIMEOUT_SECONDS


def test_the_port_is_the_images_and_the_checked_path_needs_no_key() -> None:
    dockerfile = (ROOT / FLY["build"]["dockerfile"]).read_text()
    assert re.search(r"\bPORT=(\d+)", dockerfile)[1] == str(SERVICE["internal_port"])  # type: ignore[index]
    assert "PORT" not in FLY["env"]
    assert [check["path"] for check in SERVICE["checks"]] == ["/live"]
    assert "/live" in PUBLIC


def test_every_variable_exists_and_none_is_a_secret() -> None:
    for name in FLY["env"]:
        assert not BY_NAME[name].secret
        assert BY_NAME[name].feature is None, f"{name} has no effect yet"


def test_streams_may_be_silent_for_as_long_as_the_gateway_lets_them() -> None:
    upstream = load({"GATEWAY_API_KEY": KEY, **FLY["env"]}).upstream
    assert SERVICE["http_options"]["idle_timeout"] >= upstream.total


def test_the_machine_carries_the_load_that_is_let_in() -> None:
    """Figures of docs/decisions/007-speed.md: 1,000 open streams in 126 MB."""
    (vm,) = FLY["vm"]
    limits = SERVICE["concurrency"]
    cpus, _ = SIZES[vm["size"]]
    megabytes = int(vm["memory"].removesuffix("mb"))
    assert limits["soft_limit"] < limits["hard_limit"] <= 1000 * cpus
    assert megabytes <= MAX_SHARED_MB_PER_CPU * cpus
    assert int(FLY["env"]["WEB_CONCURRENCY"]) == cpus
