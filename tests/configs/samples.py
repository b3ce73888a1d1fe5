"""Small valid configurations."""

PROMETHEUS = """\
# kept byte for byte
global:
  scrape_interval: 15s
scrape_configs:
  - job_name: api
    static_configs: [{targets: ["localhost:9090"]}]
"""
OTHER_PROMETHEUS = PROMETHEUS.replace("15s", "30s")
THIRD_PROMETHEUS = PROMETHEUS.replace("15s", "45s")
RULES = """\
groups:
  - name: api
    rules:
      - {alert: Down, expr: up == 0}
"""
LOKI = "auth_enabled: false\nserver:\n  http_listen_port: 3100\n"
OTHER_LOKI = LOKI.replace("3100", "3200")
GRAFANA = "[server]\nhttp_port = 3000\n"
