"""Small good and bad pieces of files at the edges of what the tools take, each with the verdict of promtool 2.53 or amtool 0.28.

`ALL` has them by their place in a file: what is written around them, then the good and the bad ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A place in a file of a kind: `config`, `rules` or `alertmanager`. `write` puts a piece there."""

    kind: str
    write: Callable[[str], str]


_RULE = "groups:\n- name: g\n  rules:\n"
_ROUTE = "route: {receiver: a}\nreceivers:\n"
_REGEX = "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {action: keep, source_labels: [a], regex: "

PLACES = {
    "expression": Place("rules", lambda piece: f"{_RULE}  - record: r\n    expr: {json.dumps(piece)}\n"),
    "template": Place(
        "rules", lambda piece: f"{_RULE}  - alert: r\n    expr: up\n    annotations: {{s: {json.dumps(piece)}}}\n"
    ),
    "alert": Place("rules", lambda piece: f"{_RULE}  - alert: r\n    expr: up\n    {piece}\n"),
    "rules": Place("rules", str),
    "config": Place("config", str),
    "regex": Place("config", lambda piece: f"{_REGEX}{json.dumps(piece)}}}\n"),
    "webhook": Place("alertmanager", lambda piece: f"{_ROUTE}- name: a\n  webhook_configs:\n  - {piece}\n"),
    "global of Alertmanager": Place("alertmanager", lambda piece: f"global: {{{piece}}}\n{_ROUTE}- name: a\n"),
}

GOOD = {
    "expression": (
        '0x7fffffffffffffff', '9223372036854775808',
    'limitk', 'limitk + 1', 'topk by (job) (5, up)', 'topk(5, up) by (job)', 'sum by (# c\njob) (up)',
    'sum by (job # c\n) (up)', 'sum by (job, # c\n a) (up)', 'rate(up[5m # c\n])', 'max_over_time(up[5m: # c\n1m])',
    'max_over_time(up[5m # c\n:1m])', 'rate(up[292y])', 'rate(up[1h30m])', 'up offset -5m',
    'rate(up[1y2w3d4h5m6s7ms])', 'up @ 9.3e15', 'up @ 9223372036854775', 'up @ 9223372036854776', 'up @ 1.5',
    'up @ start()', 'up @ end()', 'rate(up @ start()[5m])', 'rate(up[5m] @ start())', 'up @ +5', 'up @ -5',
    'up offset 1m @ 1', '"s"', '+1', '--1', '-up', '0e0', '1e308', '0x1e400', '1e-400', '1e+3', '08',
    ),
    "template": (
    '{{ 07 }}', '{{ 0x1 }}', '{{ 0b1 }}', '{{ 1_0 }}', '{{ 1+2i }}', '{{ 1i }}', "{{ 'a' }}", '{{ "\\377" }}',
    '{{ "\\u00e9" }}', '{{ `a` }}', '{{ 1.5 }}', '{{ .5 }}', '{{ 1. }}', '{{ -1 }}', '{{ +1 }}', '{{ 1e3 }}',
    '{{ 0x1p3 }}', '{{ nil }}', '{{ true }}', '{{ $x := 1 }}{{ $x }}', '{{ $labels.job }}', '{{ .Value }}',
    '{{ $value }}', '{{ if true }}{{ end }}', '{{ range . }}{{ break }}{{ end }}', '{{/* a */}}', '{{- 1 -}}',
    '{{-1 }}', '{{ 1 -}}', '{{ template "x" }}', '{{ define "x" }}{{ end }}', '{{ humanize 1 }}', '{{ 1 | }}',
    '{{ (1) }}', '{{ len "a" }}', '{{ printf "%d" }}', '{{ block "a" . }}{{ end }}',
    '{{ with 1 }}{{ else with 2 }}{{ end }}', '{{ .a.b }}', '{{ .1 }}', '}}', '{ {',
    ),
    "alert": (
    'labels: {~: a}', 'labels: {a: ~}', 'labels: {a: Null}', 'labels: {a: !!null Null}', 'labels: {!!binary YQ==: b}',
    'labels: {a: !!binary YQ==}', 'labels: {a: yes}', 'labels: {a: 010}', 'labels: {a: 1e3}', 'labels: {null: a}',
    'for: !!str 5m', 'for: 5m', 'annotations: {~: a}', 'labels: {a: \ufeffb}',
    ),
    "rules": (
    'groups:\n- &a {name: g}\n- {<<: *a, name: h}\n',
    'groups:\n- &a {name: g}\n- &b {name: i}\n- {<<: [*a, *b], name: h}\n',
    'groups:\n- name: g\n  rules:\n  - &r {record: a, expr: up}\n  - {<<: *r, labels: {a: b}}\n',
    'groups: [{name: g, <<: []}]',
    ),
    "config": (
    'global: {scrape_interval: 15s}', 'global: {scrape_interval: 0}', 'global: {scrape_interval: 292y}',
    'scrape_configs:\n- &a {job_name: a}\n- {<<: *a, job_name: b}\n',
    'global: &g {scrape_interval: 1m}\nscrape_configs:\n- {job_name: b, <<: *g}\n',
    'global: &g {scrape_interval: 1m, <<: {scrape_timeout: 5s}}',
    'global: {<<: {scrape_timeout: 5s}, <<: {scrape_interval: 1m}}', 'global: {external_labels: {a: Null}}',
    'global: {external_labels: {a: !!null Null}}', 'global: {external_labels: {a: !!null null}}', 'global: Null',
    'scrape_configs: ~', 'global: {external_labels: {!!binary YQ==: b}}',
    'global: {external_labels: {a: !!binary YQ==}}', 'scrape_configs:\n- job_name: a\n  honor_labels: !!bool yes\n',
    'scrape_configs:\n- job_name: a\n  honor_labels: yes\n',
    "scrape_configs:\n- job_name: a\n  honor_labels: !!bool 'yes'\n", '\ufeffglobal:\n  scrape_interval: 1m\n',
    'global:\n  external_labels: {a: "\ufeffb"}\n', 'global:\n  external_labels: {a: \ufeffb}\n',
    '\ufeff\ufeffglobal: {}\n',
    ),
    "regex": (
    "(" * 998 + "a" + ")" * 998, "(" * 997 + "a" + ")" * 997, "(" * 996 + "a" + ")" * 996,
    "(" * 500 + "a" + ")" * 500, "(?:" * 990 + "a" + ")*" * 990, '(?P<a>x)', '(?P<a>x)(?P<a>y)', '(?<a>x)',
    '(?P<1>x)', '(?P<a_1>x)', 'a{1000}', '(a{100}){10}', 'a{,2}', 'a{', 'a*?', 'a??', '\\pL', '\\p{Greek}', '\\PN',
    '[[:alpha:]]', '\\Q(\\E', '\\z', '\\A', '\\b', '(?i)a', '(?m)a', '(?U)a', '(?i-s:a)', '\\x{10FFFF}', '[]a]',
    '[^]a]', '|a', '()', '(|a)*', 'x{0,0}', '(?:)', '\\_', '\\07',
    ),
    "webhook": (
    'url: http://a', 'url_file: /a', 'url: https://a/?b={{ c }}', 'url: <secret>', 'url: http://a\n    timeout: 5',
    'url: http://a\n    timeout: 5s', 'url: http://a\n    timeout: 5000000000', 'url: http://a\n    timeout: 5.5',
    'url: http://a\n    timeout: -5s', 'url: http://a\n    max_alerts: 1.5',
    ),
    "global of Alertmanager": (
    "smtp_smarthost: 'mail:25'", "smtp_smarthost: ':25'", "smtp_smarthost: '[::1]:25'", "smtp_smarthost: 'mail:smtp'",
    "smtp_smarthost: ''", "smtp_smarthost: 'mail:99999'", 'resolve_timeout: 5m', 'resolve_timeout: 0',
    ),
}  # fmt: skip

BAD = {
    "expression": (
        '0x8000000000000000',
    'limitk by (job) (5, up)', 'limitk(5, up)', 'limit_ratio(0.5, up)', 'limitk without (a) (1, up)',
    'rate(up[ # c\n5m])', 'up[293y]', 'rate(up[293y])', 'rate(up[5])', 'rate(up[5m1])', 'rate(up[30m1h])',
    'rate(up[0s])', 'rate(up[0])', 'up offset 5', 'up offset 0s', 'up offset +5m', 'rate(up[5m:0s])',
    'rate(up[5m:30])', 'up @ inf', 'up @ -inf', 'up @ nan', 'up @ 1e30', 'up @ -1e30', 'up @ foo()', 'up @ 5m',
    'up @ --5', 'up @ 1 @ 2', 'up offset 1m offset 2m', '+"s"', '-"s"', '+up[5m]', '-up[5m]', 'rate(-up[5m])',
    '1e400', '-1e400', '1e', '.e1', '0x', '0b1', '1_000',
    ),
    "template": (
    '{{ 089 }}', "{{ 'ab' }}", "{{ '' }}", '{{ "\\400" }}', '{{ "\\ud800" }}', '{{ "\\q" }}', '{{ 1e400 }}',
    '{{ 99999999999999999999 }}', '{{ --1 }}', '{{ 1+2 }}', '{{ $x }}', '{{ end }}', '{{ if true }}', '{{ break }}',
    '{{ /* a */ }}', '{{ 1-}}', '{{ humanise 1 }}', '{{ | 1 }}', '{{ (1 }}', '{{ else }}', '{{ a.b }}', '{{ "a }}',
    "{{ 'a }}", '{{', '{{}}', '{{ }}',
    ),
    "alert": (
    'labels: {a: !!null x}', 'labels: {!!binary YS1i: b}', 'labels: {a: !!bool yes}', 'for: 5', 'for: !!int 5',
    "labels: {'a b': c}",
    ),
    "rules": (
    'groups:\n- &a {name: g}\n- {<<: *a}\n', 'groups:\n- &a {name: g}\n- &b {name: i}\n- {<<: *a, <<: *b, name: h}\n',
    'groups: [{name: g, <<: 1}]', 'groups: [{name: g, <<: ~}]',
    'groups:\n- name: g\n  rules:\n  - &r {record: a, expr: up, labels: {x: y}}\n  - {<<: *r, labels: [1]}\n',
    ),
    "config": (
    'global: {scrape_interval: 15}', 'global: {scrape_interval: 1.5s}', 'global: {scrape_interval: -5s}',
    'global: {scrape_interval: 300y}',
    'scrape_configs:\n- &a {job_name: a, static_configs: [{targets: [x]}]}\n- {<<: *a, job_name: b, static_configs: x}\n',
    'scrape_configs:\n- &a {job_name: a, static_configs: x}\n- {<<: *a, job_name: b, static_configs: []}\n',
    'global: {external_labels: {a: !!null x}}', 'global: {external_labels: {~: a}}',
    'global: {external_labels: {null: a}}', "global: {external_labels: {'': a}}",
    'global: {external_labels: {"~": a}}', 'scrape_configs: [Null]', 'global: {scrape_interval: Null}',
    'global: {external_labels: {a: !!binary YQ}}', 'global: {external_labels: {!!binary /w==: b}}',
    'global: {external_labels: {a: !!binary /w==}}', "scrape_configs:\n- job_name: a\n  honor_labels: 'yes'\n",
    'scrape_configs:\n- job_name: a\n  honor_labels: !!bool x\n',
    'scrape_configs:\n- job_name: a\n  honor_labels: !!str yes\n', 'global:\n  scrape_interval: 1m\ufeff\n',
    'global:\n\ufeff  scrape_interval: 1m\n',
    ),
    "regex": (
    "(" * 1000 + "a" + ")" * 1000, "(" * 999 + "a" + ")" * 999, '(?P<é>x)', '(?P<a-b>x)', '(?P<>x)', '(?P<a',
    '(?P=a)', 'a{1001}', '(a{100}){11}', 'a{2,1}', 'a**', 'a*+', '\\1', '\\p{Foo}', '[[:foo:]]', '[a-\\d]', '[z-a]',
    '\\C', '\\Z', '(?x)a', '(?i', '(?#a)', '(?=a)', '(?<=a)', '(?>a)', '\\x{110000}', '\\xZZ', '[]', '[^]', 'a|*',
    '\\8', '\\é',
    ),
    "webhook": (
    "url: ''", "url: 'http://{{ x }}'", "url: '{{ x }}'", "url: ''\n    url_file: /a",
    'url: http://a\n    url_file: /a', "url_file: ''", 'url: ', 'url: ~', 'url: ftp://a', 'url: http://',
    "url: 'http://a b'", 'send_resolved: true', 'url: //a', "url: 'http://[::1'", 'url: http://a:b/',
    'url: http://a\n    timeout: 1d', 'url: http://a\n    max_alerts: -1',
    ),
    "global of Alertmanager": (
    "smtp_smarthost: 'mail:25]'", "smtp_smarthost: 'mail'", "smtp_smarthost: '::1:25'", "smtp_smarthost: 'mail:'",
    "smtp_smarthost: 'a]:25'", "smtp_smarthost: '[a:25'", 'resolve_timeout: 300', "opsgenie_api_url: ''",
    'http_config: {follow_redirects: x}',
    ),
}  # fmt: skip
