"""Dollars in the metrics: the sum of whole nano-dollars to the last of them, from all workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware import _metrics
from middleware._metrics import MAX_LABEL_VALUES, Metrics
from middleware._state import Completion

MODEL = {"provider": "p", "model": "m"}
ROOT = Path(_metrics.__file__).parents[1]


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def _observe(metrics: Metrics, nano: int | None, status: int = 200, **saved: int) -> None:
    done = Completion("p", "m", input_tokens=1, cost_nano=nano, saved_nano=saved, unpriced=nano is None)
    metrics.observe(done, status, 0.01, None)


@given(st.lists(st.integers(0, 10**9), max_size=60), st.data())
def test_the_cost_is_the_sum_rounded_once_however_often_it_is_looked_at(
    costs: list[int], data: st.DataObject
) -> None:
    metrics = Metrics()
    for nano in costs:
        _observe(metrics, nano, data.draw(st.sampled_from([200, 499, 502])), limits=nano // 3)
        if data.draw(st.booleans()):
            metrics.flush()
    if costs:
        assert _value(metrics, "gateway_cost_usd_total", **MODEL) == sum(costs) / 10**9
        saved = sum(nano // 3 for nano in costs) / 10**9
        assert _value(metrics, "gateway_saved_usd_total", layer="limits") == saved


def test_a_hundred_thousand_dimes_are_ten_thousand_dollars() -> None:
    metrics = Metrics()
    dime, total = 10**8, 0.0
    for _ in range(100_000):
        _observe(metrics, dime)
        total += 0.1
    assert total != 10_000, "floats would have drifted"
    assert _value(metrics, "gateway_cost_usd_total", **MODEL) == 10_000


def test_an_unknown_price_is_counted_as_such_and_never_as_nothing() -> None:
    metrics = Metrics()
    _observe(metrics, None)
    _observe(metrics, None)
    _observe(metrics, 0)
    metrics.observe(Completion("p", "m"), 404, 0.01, None)  # nobody has looked for a price
    assert _value(metrics, "gateway_unpriced_requests_total", **MODEL) == 2
    assert _value(metrics, "gateway_cost_usd_total", **MODEL) == 0
    assert _value(metrics, "gateway_requests_total", **MODEL, status="200") == 3


def test_names_cannot_flood_the_dollars_either() -> None:
    metrics = Metrics()
    for number in range(MAX_LABEL_VALUES + 50):
        done = Completion("p", f"model-{number}", cost_nano=10**9, saved_nano={f"layer-{number}": 10**9})
        metrics.observe(done, 200, 0.01, None)
    assert _value(metrics, "gateway_cost_usd_total", provider="p", model="other") == 50
    assert _value(metrics, "gateway_saved_usd_total", layer="other") == 50


_WORKER = """
import sys
from middleware._metrics import Metrics
from middleware._state import Completion
metrics = Metrics()
for nano in map(int, sys.argv[1:]):
    saved = {"limits": nano}
    metrics.observe(Completion("p", "m", cost_nano=nano, saved_nano=saved, unpriced=False), 200, 0.01, None)
    metrics.observe(Completion("p", "m", unpriced=True), 200, 0.01, None)
print(metrics.render()[0].decode())
"""


def _worker(directory: Path, *costs: int) -> str:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _WORKER, *map(str, costs)]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def _line(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(f"{name}{{")).split()[-1])


def test_all_workers_dollars_are_added_up(tmp_path: Path) -> None:
    _worker(tmp_path, 10**9, 5)
    text = _worker(tmp_path, 2 * 10**9)
    assert _line(text, "gateway_cost_usd_total") == pytest.approx(3.000000005, abs=1e-12)
    assert _line(text, "gateway_saved_usd_total") == pytest.approx(3.000000005, abs=1e-12)
    assert _line(text, "gateway_unpriced_requests_total") == 3


def test_a_process_with_the_number_of_a_dead_one_goes_on_with_its_dollars(tmp_path: Path) -> None:
    _worker(tmp_path, 10**9)
    (file,) = tmp_path.glob("counter_*.db")
    # The next process finds the file under its own number.
    program = (
        f"import os, shutil; shutil.move({str(file)!r}, {str(tmp_path)!r} + f'/counter_{{os.getpid()}}.db')\n"
    )
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program + _WORKER, str(2 * 10**9)]
    text = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert _line(text, "gateway_cost_usd_total") == 3
    assert _line(text, "gateway_unpriced_requests_total") == 2


PROMTOOL = shutil.which("promtool")


def test_the_names_are_what_prometheus_expects() -> None:
    metrics = Metrics()
    _observe(metrics, 5, limits=7)
    _observe(metrics, None, 502)
    metrics.circuit_state.labels("p", "m").set(0)
    metrics.upstream_errors.labels("read", "reset").inc()
    text = metrics.render()[0]
    counters = [line.split()[2] for line in text.decode().splitlines() if line.endswith(" counter")]
    assert "gateway_unpriced_requests_total" in counters
    assert all(name.endswith("_total") for name in counters)
    if PROMTOOL is not None:
        checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
