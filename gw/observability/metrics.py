"""The gateway's metrics, with the series that alerts wait for."""

from __future__ import annotations

from middleware._metrics import Metrics, ModelLabel

#: Refusals that somebody is told of (docs/alerts.yml). A series that begins with its first event shows no
#: increase: these begin at 0.
REFUSALS = ("auth_unavailable", "budget_exceeded", "budget_unavailable", "ledger_full", "price_unknown")


def open_metrics(model_label: ModelLabel | None = None) -> Metrics:
    """One for each process."""
    metrics = Metrics(model_label=model_label)
    for code in REFUSALS:
        metrics.refusals.labels(code)
    metrics.upstream_errors.labels("response", "upstream_auth")
    return metrics
