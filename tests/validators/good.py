"""Complete configurations without a problem, which tests change in one place."""

from apm_s3.validators import validate_config

ALERTMANAGER = """\
global:
  resolve_timeout: 5m
  smtp_smarthost: mail.example.com:25
  smtp_from: alerts@example.com
  slack_api_url: https://hooks.slack.example/services/T/B/token
  opsgenie_api_key: key
  victorops_api_key: key
  wechat_api_secret: secret
  wechat_api_corp_id: corp
route:
  receiver: ops
  group_by: [alertname, cluster]
  group_wait: 30s
  repeat_interval: 4h
  routes:
    - matchers: ['severity="page"', 'team=~"a|b"']
      receiver: pager
      continue: true
      mute_time_intervals: [nights]
      active_time_intervals: [office]
    - match: {team: db}
      match_re: {service: ^(foo|bar)$}
      group_by: ['...']
inhibit_rules:
  - source_matchers: [severity = critical]
    target_matchers: [severity = warning]
    equal: [alertname]
mute_time_intervals:
  - name: nights
    time_intervals:
      - times: [{start_time: 22:00, end_time: 24:00}]
        weekdays: ['monday:friday', sunday]
        days_of_month: ['1:5', '-3:-1']
        months: ['january:march', '12']
        years: ['2026:2028']
        location: Europe/Berlin
time_intervals:
  - name: office
    time_intervals: [{times: [{start_time: 09:00, end_time: 17:00}]}]
receivers:
  - name: ops
    email_configs:
      - to: ops@example.com
        headers: {Subject: hello}
    slack_configs:
      - channel: '#ops'
        actions: [{type: button, text: Look, url: http://x}]
        fields: [{title: a, value: b}]
    webhook_configs: [{url: http://hook.example}]
    opsgenie_configs: [{responders: [{name: sre, type: team}]}]
    victorops_configs: [{routing_key: r, custom_fields: {x: y}}]
    wechat_configs: [{message_type: text}]
  - name: pager
    pagerduty_configs: [{routing_key: key, details: {a: b}}]
    pushover_configs: [{user_key: u, token: t, html: true, retry: 1m}]
    sns_configs: [{topic_arn: 'arn:aws:sns:us-east-2:1:x', sigv4: {region: us-east-2}}]
    telegram_configs: [{bot_token: b, chat_id: 7, parse_mode: HTML}]
    discord_configs: [{webhook_url: https://discord.example/x}]
    msteams_configs: [{webhook_url_file: /run/teams}]
    msteamsv2_configs: [{webhook_url: https://teams.example/x}]
    webex_configs: [{room_id: r, http_config: {authorization: {credentials: c}}}]
    jira_configs: [{api_url: https://jira.example, project: P, issue_type: Bug}]
    rocketchat_configs: [{token: t, token_id: i}]
    mattermost_configs: [{webhook_url: https://mm.example/x}]
    incidentio_configs: [{url: https://api.incident.example, alert_source_token: t}]
templates: ['templates/*.tmpl']
"""

LOKI = """\
auth_enabled: false
target: all
server:
  http_listen_port: 3100
  log_level: info
common:
  path_prefix: /loki
  replication_factor: 1
  storage:
    filesystem: {chunks_directory: /loki/chunks, rules_directory: /loki/rules}
  ring: {kvstore: {store: inmemory}}
schema_config:
  configs:
    - {from: 2020-01-01, store: tsdb, object_store: filesystem, schema: v12, index: {prefix: index_, period: 24h}}
    - {from: "2024-04-01", store: tsdb, object_store: s3, schema: v13, index: {prefix: index_, period: 24h}}
storage_config:
  tsdb_shipper: {active_index_directory: /loki/index, cache_location: /loki/cache}
ingester:
  chunk_encoding: snappy
  wal: {enabled: true, checkpoint_duration: 5m}
limits_config:
  retention_period: 744h
  ingestion_rate_mb: 8.5
  max_line_size: 256KB
  deletion_mode: filter-and-delete
  retention_stream: [{selector: '{app="x"}', priority: 1, period: 48h}]
compactor:
  working_directory: /loki/compactor
  retention_enabled: true
  delete_request_store: filesystem
  compaction_interval: 10m
querier: {max_concurrent: 4}
frontend_worker: {scheduler_address: "scheduler:9095"}
ruler:
  alertmanager_url: http://alertmanager:9093
  storage: {type: local, local: {directory: /rules}}
"""

LOKI_RULES = """\
groups:
  - name: api
    interval: 1m
    rules:
      - alert: Errors
        expr: 'sum(rate({app="api"} |= "error" | json | line_format "{{.msg}}" [5m])) by (pod) > 10'
        for: 5m
        labels: {severity: page}
        annotations: {summary: '{{ $labels.pod }}: {{ $value }}'}
      - record: api:errors
        expr: |
          sum(count_over_time({app="api"} |~ `err\\d+[(]` [1m])) # a comment (
"""

JAEGER = """\
service:
  extensions: [jaeger_storage, jaeger_query, remote_sampling, healthcheckv2]
  pipelines:
    traces:
      receivers: [otlp, jaeger]
      processors: [batch]
      exporters: [jaeger_storage_exporter, spanmetrics]
    metrics/spanmetrics:
      receivers: [spanmetrics]
      exporters: [prometheus]
  telemetry:
    resource:
      service.name: jaeger
    logs:
      level: info
extensions:
  healthcheckv2:
    use_v2: true
    http:
  jaeger_query:
    base_path: /jaeger
    storage:
      traces: primary
      traces_archive: archive
      metrics: spm
  jaeger_storage:
    backends:
      primary:
        memory:
          max_traces: 100000
      archive:
        elasticsearch:
          server_urls: ["${env:ES_URL:-http://localhost:9200}"]
    metric_backends:
      spm:
        prometheus:
          endpoint: http://prometheus:9090
  remote_sampling:
    adaptive:
      sampling_store: primary
    http:
receivers:
  otlp:
    protocols:
      grpc:
  jaeger:
    protocols:
      grpc:
processors:
  batch:
exporters:
  jaeger_storage_exporter:
    trace_storage: primary
  prometheus:
    endpoint: 0.0.0.0:8889
connectors:
  spanmetrics:
"""

SAMPLING = """{"default_strategy": {"type": "probabilistic", "param": 0.5},
 "service_strategies": [{"service": "api", "type": "ratelimiting", "param": 2,
   "operation_strategies": [{"operation": "GET /", "type": "probabilistic", "param": 1}]}]}"""

SOURCES = """\
apiVersion: 1
datasources:
  - name: Prometheus
    type: prometheus
    uid: prom
    access: proxy
    url: http://prometheus:9090
    isDefault: true
    orgId: 1
    jsonData: {httpMethod: POST}
    secureJsonData: {httpHeaderValue1: $TOKEN}
  - name: Loki
    type: loki
    uid: loki
    isDefault: $LOKI_DEFAULT
"""

ALERTING = """\
apiVersion: 1
groups:
  - orgId: 1
    name: api
    folder: alerts
    interval: 60s
    rules:
      - uid: api-down
        title: API down
        condition: A
        for: 5m
        noDataState: Alerting
        execErrState: Error
        labels: {team: sre}
        data:
          - refId: A
            datasourceUid: prom
            model: {expr: up == 0}
contactPoints:
  - orgId: 1
    name: ops
    receivers:
      - uid: ops-mail
        type: email
        settings: {addresses: ops@example.com}
policies:
  - receiver: ops
    group_wait: 30s
templates:
  - name: title
    template: '{{ define "title" }}x{{ end }}'
muteTimes:
  - name: nights
deleteRules:
  - uid: gone
"""

PROVIDERS = """\
apiVersion: 1
providers:
  - name: files
    type: file
    updateIntervalSeconds: 30
    options: {path: /var/lib/grafana/dashboards}
apps:
  - type: some-app
    disabled: false
"""
SECOND = 'from: "2024-04-01", store: tsdb, object_store: s3, schema: v13, index: {prefix: index_, period: 24h}'
"""The second period of `LOKI`."""


def errors(tool: str, text: str, **options: str) -> list[tuple[str, str]]:
    """Return the path and the rule of each error in `text`."""
    return [(issue.path, issue.rule) for issue in validate_config(tool, text, **options).errors]
