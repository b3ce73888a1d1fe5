"""What others are told: metrics for Prometheus, notifications of commits."""
