"""Gates, checks, agreement, latency, the report and the manifest."""
