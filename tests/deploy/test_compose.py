"""``examples/compose``: known keys, nothing dangling, hardened, and in step with the gateway.

The keys are facts of the Compose Specification (compose-spec/compose-spec, ``05-services.md`` and
``schema/compose-spec.json``); only those that the example uses are listed, so that a typing error fails.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from gw.doctor.limits import longest_stop
from gw.settings import load
from gw.variables import BY_NAME
from middleware.auth import AuthMiddleware
from tests.e2e.gateway import ADMIN_KEY, KEY, ROOT
from tests.middleware.asgi import call

from .fly_schema import seconds

FOLDER = ROOT / "examples" / "compose"
TEXT = (FOLDER / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GATEWAY = SERVICES["gateway"]
PROMETHEUS: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
GRAFANA_SOURCE: dict[str, Any] = yaml.safe_load((FOLDER / "grafana" / "datasource.yml").read_text())
GRAFANA_DASHBOARD: dict[str, Any] = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text())
ENV_EXAMPLE = dict(
    re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", (FOLDER / ".env.example").read_text(), re.MULTILINE)
)

TOP_LEVEL = {"name", "services", "networks", "volumes", "secrets"}
SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image"),
    *("mem_limit", "networks", "ports", "read_only", "restart", "secrets", "security_opt", "shm_size"),
    *("stop_grace_period", "tmpfs", "volumes"),
}
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
#: ``${NAME}``, ``${NAME:-default}``, ``${NAME:?message}``: ``12-interpolation.md``.
INTERPOLATED = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def test_every_key_is_one_of_the_specifications() -> None:
    assert set(COMPOSE) <= TOP_LEVEL
    for name, service in SERVICES.items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service.get("healthcheck", {})) <= HEALTHCHECK_KEYS, name
        for key in ("interval", "timeout", "start_period"):
            value = service.get("healthcheck", {}).get(key, "1s")
            assert seconds(value) is not None, (name, key, value)
        assert service["restart"] in ("no", "always", "on-failure", "unless-stopped"), name


def test_whatever_is_referred_to_is_there() -> None:
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted["condition"] in CONDITIONS
            healthy = "healthcheck" in SERVICES[other] or "build" in SERVICES[other]  # the image's own
            assert healthy or wanted["condition"] != "service_healthy", (name, other)
        assert set(service.get("networks", ())) <= {"default", *COMPOSE["networks"]}
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (FOLDER / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
    context = (FOLDER / GATEWAY["build"]).resolve()
    assert context == ROOT
    assert (context / "Dockerfile").is_file()


def test_every_image_is_pinned_to_a_minor_version() -> None:
    for name, service in SERVICES.items():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"]), name


def test_what_is_to_be_filled_in_is_listed_and_what_must_be_stops_the_start() -> None:
    used = {name: (kind, text) for name, kind, text in INTERPOLATED.findall(TEXT)}
    used |= {secret["environment"]: used[secret["environment"]] for secret in COMPOSE["secrets"].values()}
    assert set(used) == set(ENV_EXAMPLE)
    for name, (kind, text) in used.items():
        assert kind == ":?" or ENV_EXAMPLE[name] == text, name
    assert {name for name, (kind, _) in used.items() if kind == ":?"} == {
        "GATEWAY_API_KEY",
        "ADMIN_API_KEY",
        "POSTGRES_PASSWORD",
    }


def test_the_gateway_may_write_nothing_do_nothing_and_is_not_open_to_the_world() -> None:
    assert GATEWAY["read_only"] is True
    assert GATEWAY["cap_drop"] == ["ALL"]
    assert [place.partition(":")[0] for place in GATEWAY["tmpfs"]] == ["/tmp"]
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert name == "ollama-pull" or "no-new-privileges:true" in service["security_opt"], name
    assert COMPOSE["networks"]["state"] == {"internal": True}
    for name in ("redis", "postgres"):
        assert SERVICES[name]["networks"] == ["state"]


def environment_of_the_gateway() -> dict[str, str]:
    """What Compose would hand over when ``.env`` holds only what must be filled in."""
    filled = {"GATEWAY_API_KEY": KEY, "ADMIN_API_KEY": ADMIN_KEY, "POSTGRES_PASSWORD": "a1"}

    def value(found: re.Match[str]) -> str:
        return filled.get(found[1]) or (found[3] if found[2] == ":-" else "")

    return {name: INTERPOLATED.sub(value, text) for name, text in GATEWAY["environment"].items()}


def test_the_gateway_starts_from_it_and_is_given_time_to_drain() -> None:
    environ = environment_of_the_gateway()
    settings = load(environ)
    assert set(environ) <= set(BY_NAME)
    assert settings.local.base_url == "http://ollama:11434"
    assert settings.local.allowlist == (ENV_EXAMPLE["OLLAMA_MODEL"],)
    assert settings.local.default_model == ENV_EXAMPLE["OLLAMA_MODEL"]
    grace = seconds(GATEWAY["stop_grace_period"])
    assert grace is not None
    assert grace > longest_stop(settings)


def test_the_readme_names_what_has_no_effect_yet() -> None:
    readme = (FOLDER / "README.md").read_text()
    without_effect = {name for name in GATEWAY["environment"] if BY_NAME[name].feature is not None}
    assert all(f"`{name}`" in readme for name in without_effect)


def mounted(service: str) -> dict[str, str]:
    """Path in the container -> file of this repository."""
    volumes = [v.split(":") for v in SERVICES[service]["volumes"] if v.startswith(".")]
    return {inside: outside for outside, inside, _ in volumes}


def test_prometheus_reads_the_alert_rules_and_grafana_the_dashboard() -> None:
    (rules,) = PROMETHEUS["rule_files"]
    assert mounted("prometheus")[rules] == "../../docs/alerts.yml"
    grafana = mounted("grafana")
    dashboard = GRAFANA_DASHBOARD["providers"][0]["options"]["path"] + "/gateway.json"
    assert grafana[dashboard] == "../../docs/grafana/gateway.json"
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard
    (source,) = GRAFANA_SOURCE["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    assert set(grafana) >= {
        "/etc/grafana/provisioning/datasources/gateway.yml",
        "/etc/grafana/provisioning/dashboards/gateway.yml",
    }


def test_nobody_can_change_anything_in_grafana() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


@pytest.mark.anyio
async def test_prometheus_sends_a_header_that_admin_accepts() -> None:
    (job,) = PROMETHEUS["scrape_configs"]
    authorization = job["authorization"]
    ((secret, _),) = COMPOSE["secrets"].items()
    assert authorization["credentials_file"] == f"/run/secrets/{secret}"
    assert secret in SERVICES["prometheus"]["secrets"]
    assert job["static_configs"] == [{"targets": ["gateway:8080"]}]

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"metrics"})

    admin = AuthMiddleware(page, keys={ADMIN_KEY: "admin"}, only=("/admin",))
    header = (b"authorization", f"{authorization['type']} {ADMIN_KEY}".encode())
    answer = await call(admin, path=job["metrics_path"], headers=[header])
    assert answer.status == 200
    assert (await call(admin, path=job["metrics_path"])).status == 401
