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
LOKI = """\
auth_enabled: false
server:
  http_listen_port: 3100
common:
  path_prefix: /loki
  replication_factor: 1
  ring:
    kvstore: {store: inmemory}
schema_config:
  configs:
    - from: 2024-01-01
      store: tsdb
      object_store: filesystem
      schema: v13
      index: {prefix: index_, period: 24h}
"""
OTHER_LOKI = LOKI.replace("3100", "3200")
GRAFANA = "[server]\nhttp_port = 3000\n"
