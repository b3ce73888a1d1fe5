"""What others are told of a manager: Prometheus. Each module needs the extra of its name."""
