"""Limits of the machine and settings that cancel each other; what INFO of Redis means."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gw import server
from gw.doctor import limits, redis
from gw.doctor.limits import Machine
from gw.doctor.report import Section
from gw.supervised import Supervised

from .doctor_answers import Client, Scripted, context, problems, said

LARGE = Machine(files=65_536, files_hard=65_536, memory=8 * 10**9, cpus=4.0, somaxconn=4096)


def on(machine: Machine, **environ: str) -> Section:
    section = Section("limits")
    limits.judge_machine(section, context(**environ).settings, machine)
    return section


def settings(**environ: str) -> Section:
    section = Section("limits")
    limits.judge_settings(section, context(**environ).settings)
    return section


def test_a_large_machine_is_ok() -> None:
    section = on(LARGE)
    assert problems(section) == []
    assert "WEB_CONCURRENCY may be up to 4" in said(section, "ok")


def test_too_few_open_files_are_counted_in_streams() -> None:
    text = said(on(replace(LARGE, files=1024)), "warn")
    assert "enough for some 384 streams" in text
    assert "`ulimit -n 16384`" in text
    assert "raise the hard limit first" in said(on(replace(LARGE, files=1024, files_hard=4096)), "warn")


def test_memory_counts_for_each_worker() -> None:
    small = replace(LARGE, memory=256 * 10**6)
    assert problems(on(small)) == []
    assert "At least 520 MB" in said(on(small, WEB_CONCURRENCY="4"), "warn")


@pytest.mark.parametrize(("cpus", "most"), [(2.0, 2), (0.5, 1), (1.5, 2)])
def test_more_workers_than_cpus_are_warned_of(cpus: float, most: int) -> None:
    section = on(replace(LARGE, cpus=cpus), WEB_CONCURRENCY="3")
    assert f"WEB_CONCURRENCY={most}" in said(section, "warn")


def test_a_short_queue_of_the_kernel_is_warned_of() -> None:
    assert "net.core.somaxconn=4096" in said(on(replace(LARGE, somaxconn=128)), "warn")


def test_what_the_system_does_not_tell_is_not_judged() -> None:
    assert problems(on(Machine(None, None, None, 1.0, None))) == []


def test_a_container_s_limits_count_and_not_the_host_s(tmp_path: Path) -> None:
    for name, text in {
        "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
        "proc/sys/net/core/somaxconn": "128\n",
        "sys/fs/cgroup/memory.max": "268435456\n",
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = Machine.read(tmp_path)
    assert (machine.memory, machine.cpus, machine.somaxconn) == (268435456, 0.5, 128)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    free = Machine.read(tmp_path)
    assert free.memory == 16_000_000 * 1024
    assert free.cpus >= 1


def test_a_machine_that_tells_nothing_can_be_read(tmp_path: Path) -> None:
    machine = Machine.read(tmp_path)
    assert (machine.memory, machine.somaxconn) == (None, None)


def test_the_defaults_do_not_contradict_each_other() -> None:
    assert problems(settings()) == []


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"RATE_LIMIT_RPM": "2", "WEB_CONCURRENCY": "4"}, "less than one request a minute"),
        ({"UPSTREAM_IDLE_TIMEOUT_SECONDS": "700"}, "UPSTREAM_IDLE_TIMEOUT_SECONDS=700 has no effect"),
        ({"DRAIN_TIMEOUT_SECONDS": "3600"}, "longer than any request may take"),
    ],
)
def test_settings_that_cancel_each_other_are_named(environ: dict[str, str], text: str) -> None:
    assert text in said(settings(**environ), "warn")


def test_settings_that_are_switched_off_cancel_nothing() -> None:
    assert problems(settings(RATE_LIMIT_RPM="2", WEB_CONCURRENCY="4", RATE_LIMIT_ENABLED="0")) == []


def test_a_drain_as_long_as_a_patient_local_model_is_no_contradiction() -> None:
    patient = {"DRAIN_TIMEOUT_SECONDS": "900", "LOCAL_LLM_TIMEOUT_SECONDS": "900"}
    assert "longer than any request may take" in said(settings(**patient), "warn")
    assert problems(settings(**patient, LOCAL_LLM_BASE_URL="http://gpu:11434")) == []


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 43),
        ({"DRAIN_TIMEOUT_SECONDS": "120"}, 133),
        ({"LEDGER_ENABLED": "0"}, 35),
        ({"ADMIN_PORT": "9090"}, 51),
    ],
)
def test_a_stop_takes_as_long_as_all_that_the_server_waits_for(
    environ: dict[str, str], seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Workers:
        def __init__(self, *_: object, workers_kill_timeout: int, **__: object) -> None:
            waits.append(workers_kill_timeout)

        def serve(self) -> None: ...

    monkeypatch.setattr(server, "Granian", Workers)
    monkeypatch.setattr(server, "_catch_early_signals", lambda: None)
    monkeypatch.setattr(Supervised, "start", lambda self: None)
    monkeypatch.setattr(Supervised, "stop", lambda self: waits.append(self._stop_seconds))
    chosen = {**environ, "PROMETHEUS_ENABLED": "0"}
    server.run(context(**chosen).settings)
    assert sum(waits) == limits.longest_stop(context(**chosen).settings) == seconds
    assert f"A stop takes up to {seconds} s" in said(settings(**chosen), "ok")


@pytest.mark.anyio
async def test_the_port_is_free_ours_or_somebody_else_s() -> None:
    taken = "PORT=8080 is in use on 127.0.0.1: stop the other program or set PORT to a free port."
    ours = {"status": "ok", "version": "0.1.0", "providers": ["anthropic"]}
    for problem, answer, status, text in (
        (None, None, "ok", "Port 8080 is free"),
        (taken, Scripted(body=ours), "ok", "A gateway 0.1.0 runs at http://127.0.0.1:8080 already"),
        (taken, Scripted(404, b"nginx"), "fail", "set PORT to a free port"),
    ):
        about = context(Client({"/health": answer}))
        about.port_problem = problem
        section = Section("limits")
        await limits.check(section, about)
        assert text in said(section, status), status


@pytest.mark.anyio
async def test_workers_need_a_folder_for_their_metrics(tmp_path: Path) -> None:
    async def look(**environ: str) -> Section:
        section = Section("limits")
        await limits.check(section, context(**environ))
        return section

    missing = str(tmp_path / "no" / "such" / "folder")
    broken = await look(WEB_CONCURRENCY="2", PROMETHEUS_MULTIPROC_DIR=missing)
    assert "Workers cannot write their metrics" in said(broken, "fail")
    good = await look(WEB_CONCURRENCY="2", PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert f"Workers can write their metrics to {tmp_path}" in said(good, "ok")
    assert "metrics" not in said(await look(PROMETHEUS_MULTIPROC_DIR=missing), "fail")


@pytest.mark.parametrize(
    ("info", "status", "text"),
    [
        ({"redis_version": "6.0.16"}, "fail", "6.2 is needed"),
        (
            {"redis_version": "7.2.4", "maxmemory": 2**28, "maxmemory_policy": "noeviction"},
            "warn",
            "at 256 MiB Redis refuses to write",
        ),
        ({"redis_version": "7.2.4", "maxmemory": 2**28, "maxmemory_policy": "allkeys-lru"}, "ok", "256 MiB"),
        ({"redis_version": "10.0.0", "maxmemory": 0, "maxmemory_policy": "noeviction"}, "ok", "not limited"),
    ],
)
def test_what_redis_says_of_itself_is_judged(info: dict[str, Any], status: str, text: str) -> None:
    section = Section("redis")
    redis.judge(section, info)
    assert [f.status for f in section.findings] == [status]
    assert text in said(section, status)


def test_the_probe_of_the_port_is_a_real_one(tmp_path: Path) -> None:
    from gw.cli._start import address_problem

    with socket.create_server(("127.0.0.1", 0)) as taken:
        about = context(PORT=str(taken.getsockname()[1]))
        assert "is in use" in (address_problem(about.settings) or "")
    assert address_problem(about.settings) is None
