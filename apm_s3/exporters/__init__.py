"""What others are told: metrics for Prometheus, logs, notifications of commits."""
