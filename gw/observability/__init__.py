"""What operators watch: labels that stay few, the ledger's state in the metrics, OpenTelemetry."""
