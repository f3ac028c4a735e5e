"""``docs/deploy.md`` agrees with the gateway: names, time-outs, sizes, links."""

from __future__ import annotations

import re

import pytest

from gw.doctor.limits import longest_stop
from gw.settings import load
from gw.variables import VARIABLES, of
from tests.e2e.gateway import KEY, ROOT

from .by_hand import GUIDE, block
from .fly_schema import seconds

DEFAULTS = load({"GATEWAY_API_KEY": KEY})


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        ("docker run", r"--stop-timeout (\d+)"),
        ("systemd", r"^TimeoutStopSec=(\d+)$"),
        ("fly.toml", r'`kill_timeout = "(\d+)s"`'),
    ],
)
def test_whatever_stops_the_gateway_waits_longer_than_it_takes(place: str, pattern: str) -> None:
    (waits,) = re.findall(pattern, GUIDE, re.MULTILINE)
    assert int(waits) > longest_stop(DEFAULTS), place


def test_what_it_says_of_a_stop_is_what_a_stop_takes() -> None:
    (more, admin) = re.findall(
        r"`DRAIN_TIMEOUT_SECONDS` \+ (\d+).*?, and (\d+) more with `ADMIN_PORT`", GUIDE, re.DOTALL
    )[0]
    with_admin = load({"GATEWAY_API_KEY": KEY, "ADMIN_PORT": "9090"})
    assert DEFAULTS.server.drain_seconds + int(more) == longest_stop(DEFAULTS)
    assert longest_stop(DEFAULTS) + int(admin) == longest_stop(with_admin)


def test_the_proxy_is_as_patient_and_as_large_as_the_gateway() -> None:
    server = block("nginx")
    (size,) = re.findall(r"client_max_body_size (\d+)m;", server)
    assert int(size) * 2**20 == DEFAULTS.server.max_body_bytes
    (patience,) = re.findall(r"proxy_read_timeout (\w+);", server)
    assert (seconds(patience) or 0) >= DEFAULTS.upstream.total


def test_every_variable_it_names_exists() -> None:
    groups = "|".join({variable.name.partition("_")[0] for variable in VARIABLES if "_" in variable.name})
    named = set(re.findall(rf"\b(?:{groups})_[A-Z_]+\b", GUIDE)) - {"ENABLE_", "PROMETHEUS_MULTIPROC_DIR"}
    assert len(named) > 8
    for name in named:
        of(name)


def test_every_link_and_every_test_it_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", GUIDE)
    for link in links:
        assert link.startswith("https://") or (ROOT / "docs" / link).exists(), link
    for path in re.findall(r"`((?:tests|examples)/[\w/.]+)`", GUIDE):
        assert (ROOT / path).exists(), path
    headings = re.findall(r"^#+ (.+)$", GUIDE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", GUIDE)) <= anchors
