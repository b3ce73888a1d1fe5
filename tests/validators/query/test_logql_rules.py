"""LogQL against its documentation: each rule with a query that keeps it and one that breaks it."""

import re
from typing import NamedTuple

import pytest

from apm_s3.validators._query.kit import Binary, QueryProblem
from apm_s3.validators._query.logql import parse
from apm_s3.validators._query.logql_pipelines import KEYWORDS

DOCS = "https://grafana.com/docs/loki/latest/"
LOG, METRIC, REFERENCE = (f"{DOCS}query/{page}/" for page in ("log_queries", "metric_queries", "query_reference"))
SELECTOR, LINE, LABELS = (
    LOG + anchor for anchor in ("#log-stream-selector", "#line-filter-expression", "#label-filter-expression")
)
JSON, LOGFMT, PATTERN, REGEXP = (LOG + anchor for anchor in ("#json", "#logfmt", "#pattern", "#regular-expression"))
LINE_FORMAT, LABEL_FORMAT = LOG + "#line-format-expression", LOG + "#labels-format-expression"
DROP, KEEP = LOG + "#drop-labels-expression", LOG + "#keep-labels-expression"
RANGE, UNWRAP = METRIC + "#log-range-aggregations", METRIC + "#unwrapped-range-aggregations"
OFFSET, AGGREGATION = METRIC + "#offset-modifier", METRIC + "#built-in-aggregation-operators"
APPROXIMATE = METRIC + "#probabilistic-aggregation"
ARITHMETIC, LOGICAL = REFERENCE + "#arithmetic-operators", REFERENCE + "#logical-and-set-operators"
COMPARISON, MATCHING = REFERENCE + "#comparison-operators", REFERENCE + "#keywords-on-and-ignoring"
MANY, COMMENTS = REFERENCE + "#many-to-one-and-one-to-many-vector-matches", REFERENCE + "#comments"
ERRORS, REPLACE = REFERENCE + "#pipeline-errors", REFERENCE + "#label_replace"
WILDCARD = REFERENCE + "#pattern-match-filter-operators"
IP, TEMPLATE, NOTES = DOCS + "query/ip/", DOCS + "query/template_functions/", DOCS + "release-notes/"

R = 'rate({a="b"}[1m])'


class Rule(NamedTuple):
    """A documented rule; `message` is a part of the error for `bad`, read for `release` of Loki."""

    text: str
    page: str
    good: str
    bad: str
    message: str
    release: tuple[int, int] | None = None


# fmt: off
STREAMS = [
    Rule("a query begins with a selector", SELECTOR, '{a="b"}', '|= "error"', "unexpected '|='"),
    Rule("a selector has one pair or more", SELECTOR, '{a="b"}', "{}", "excludes empty values"),
    Rule("commas separate pairs", SELECTOR, '{app="mysql",name="backup"}', '{app="mysql" name="backup"}', "unexpected 'name'"),
    Rule("braces delimit a selector", SELECTOR, '{app="mysql"}', '{app="mysql"', "unexpected end of the expression"),
    Rule("= is exactly equal", SELECTOR, '{app="mysql"}', "{app=mysql}", "unexpected 'mysql'"),
    Rule("!= is not equal", SELECTOR, '{a="b", c!="d"}', '{a="b", c<>"d"}', "unexpected '<'"),
    Rule("=~ matches an expression", SELECTOR, '{name =~ "mysql.+"}', '{name =~ "mysql(.+"}', "invalid regular expression"),
    Rule("!~ does not match one", SELECTOR, '{a="b", name !~ `mysql-\\d+`}', '{a="b", name !~ "["}', "invalid regular expression"),
    Rule("selectors have no ==", SELECTOR, '{a="b"}', '{a=="b"}', "unexpected '=='"),
    Rule("selectors have no >", SELECTOR, '{a="b"}', '{a="b", c>"5"}', "unexpected '>'"),
    Rule("expressions are RE2", SELECTOR, '{name =~ "(?s).*mysql.*"}', '{name =~ "(?=m)mysql"}', "invalid regular expression"),
    Rule("one matcher excludes empty values, as in Prometheus", SELECTOR, '{a=~".+"}', '{a=~".*"}', "excludes empty values"),
    Rule("names are those of Prometheus", SELECTOR, '{app_1="x"}', '{app-1="x"}', "unexpected '-'"),
    Rule("strings have double quotes or backticks", LOG, "{a=`b`}", "{a='b'}", "the string that begins here is not closed"),
    Rule("backticks need no escapes", LOG, '{a="b"} |~ `\\w+`', '{a="b"} |~ "\\w+"', "unknown escape"),
    Rule("a pipeline is a chain of stages", LOG, '{a="b"} |= "m" | logfmt | d > 10s and m < 500', '{a="b"} | logfmt d > 10s', "unexpected '10s'"),
    Rule("| begins a stage", LOG + "#log-pipeline", '{a="b"} | json', '{a="b"} | | json', "unexpected '|'"),
    Rule("stages are of a known kind", LOG + "#log-pipeline", '{a="b"} | json', '{a="b"} | xml', "expected a comparison"),
]

LINES = [
    Rule("|= contains text", LINE, '{job="mysql"} |= "error"', '{job="mysql"} |= error', "unexpected 'error'"),
    Rule("!= does not contain text", LINE, '{a="b"} != "kafka.server:type=R"', '{a="b"} != kafka', "unexpected 'kafka'"),
    Rule("|~ matches an expression", LINE, '{name="kafka"} |~ "tsdb-ops.*io:2003"', '{name="kafka"} |~ "tsdb-ops.*("', "invalid regular expression"),
    Rule("!~ does not match one", LINE, '{a="b"} !~ "x+"', '{a="b"} !~ "+x"', "invalid regular expression"),
    Rule("filters chain", LINE, '{job="mysql"} |= "error" != "timeout"', '{job="mysql"} |= "error" "timeout"', "unexpected '\"timeout\"'"),
    Rule("or joins texts", "https://github.com/grafana/loki/pull/8962", '{a="b"} |= "x" or "y"', '{a="b"} |= "x" or', "unexpected end of the expression"),
    Rule("(?i) ignores case; the syntax is RE2", LINE, '{a="b"} |~ "(?i)error"', '{a="b"} |~ "(?<!x)error"', "invalid regular expression"),
    Rule("filters stand anywhere in a pipeline", LINE, '{a="b"} | json | line_format "{{.m}}" |= "error"', '{a="b"} | |= "error"', "unexpected '|='"),
    Rule("decolorize takes nothing", LOG + "#removing-color-codes", '{job="example"} | decolorize', '{job="example"} | decolorize "x"', "unexpected '\"x\"'"),
    Rule("|> matches a pattern", WILDCARD, '{a="b"} |> `<_> level=debug <_> msg="POST <_>`', '{a="b"} |> level', "unexpected 'level'"),
    Rule("!> does not match a pattern", WILDCARD, '{a="b"} !> "<_> level=debug <_>"', '{a="b"} !> <_>', "unexpected '<'"),
    Rule("<_> is the only wildcard", WILDCARD, '{a="b"} |> "<_> x"', '{a="b"} |> "<ip> x"', "|> sets no labels, so '<ip>'"),
    Rule("wildcards have text between them", WILDCARD, '{a="b"} !> "<_> <_>"', '{a="b"} !> "<_><_>"', "need text between them"),
    Rule("|> is new in 3.0", NOTES + "v3-0/", '{a="b"} |> "<_>"', '{a="b"} |> "<_>"', "|> was added in 3.0", (2, 9)),
    Rule("!> is new in 3.0", NOTES + "v3-0/", '{a="b"} !> "<_>"', '{a="b"} !> "<_>"', "!> was added in 3.0", (2, 9)),
    Rule("ip() takes an IPv4 address", IP, '{a="b"} |= ip("192.0.2.0")', '{a="b"} |= ip("192.0.2")', "not '192.0.2'"),
    Rule("ip() takes an IPv6 address", IP, '{a="b"} |= ip("::1")', '{a="b"} |= ip(":::1")', "not ':::1'"),
    Rule("ip() takes a range", IP, '{a="b"} != ip("192.168.4.5-192.168.4.20")', '{a="b"} != ip("192.168.4.20-192.168.4.5")', "not '192.168.4.20-192.168.4.5'"),
    Rule("ip() takes an IPv6 range", IP, '{a="b"} |= ip("2001:db8::1-2001:db8::8")', '{a="b"} |= ip("192.0.2.0-2001:db8::8")', "not '192.0.2.0-2001:db8::8'"),
    Rule("ip() takes a CIDR", IP, '{a="b"} |= ip("192.51.100.0/24")', '{a="b"} |= ip("192.51.100.0/33")', "not '192.51.100.0/33'"),
    Rule("a CIDR has a prefix length", IP, '{a="b"} |= ip("192.168.4.5/16")', '{a="b"} |= ip("192.168.4.5/255.255.0.0")', "not '192.168.4.5/255.255.0.0'"),
    Rule("ip() takes an IPv6 CIDR", IP, '{a="b"} |= ip("2001:db8::/32")', '{a="b"} |= ip("2001:db8::/129")', "not '2001:db8::/129'"),
    Rule("ip() takes a string", IP, '{a="b"} |= ip("10.0.0.1")', '{a="b"} |= ip(10.0.0.1)', "'10.0.0.1'"),
    Rule("line filters by address: |= and !=", IP, '{a="b"} |= ip("::1") != ip("::2")', '{a="b"} |~ ip("::1")', "not with |~"),
    Rule("label filters by address: = and !=", IP, '{a="b"} | c = ip("::1") | c != ip("::2")', '{a="b"} | c =~ ip("::1")', "unexpected 'ip'"),
    Rule("addresses have no order", IP, '{a="b"} | c = ip("::1")', '{a="b"} | c > ip("::1")', "unexpected 'ip'"),
    Rule("filters by address chain with or", IP, '{a="b"} | c = ip("::1") or c = ip("::2")', '{a="b"} | c = ip("::1") or ip("::2")', "unexpected 'ip'"),
]

FILTERS = [
    Rule("the label is on the left", LABELS, '{a="b"} | cluster="x"', '{a="b"} | "x"=cluster', "unexpected '\"x\"'"),
    Rule("a predicate has an operation", LABELS, '{a="b"} | cluster="x"', '{a="b"} | cluster "x"', "unexpected '\"x\"', expected a comparison"),
    Rule("a predicate has a value", LABELS, '{a="b"} | cluster="x"', '{a="b"} | cluster=', "unexpected end of the expression"),
    Rule("strings have quotes", LABELS, '{a="b"} | c="200" | d=`us-central1`', '{a="b"} | d=us-central1', "unexpected 'us'"),
    Rule("strings take = != =~ !~", LABELS, '{a="b"} | c="1" | c!="1" | c=~"1" | c!~"1"', '{a="b"} | c > "1"', "unexpected '\"1\"'"),
    Rule("strings do not take ==", LABELS, '{a="b"} | c="1"', '{a="b"} | c == "1"', "unexpected '\"1\"'"),
    Rule("=~ takes only strings", LABELS, '{a="b"} | c =~ "5"', '{a="b"} | c =~ 5', "unexpected '5'"),
    Rule("!~ takes an RE2 expression", LABELS, '{a="b"} | c !~ "2.."', '{a="b"} | c !~ "2**"', "invalid regular expression"),
    Rule("durations have units", LABELS, '{a="b"} | c > 300ms | c > 1.5h | c > 2h45m', '{a="b"} | c > 300xs', "'300xs' is neither"),
    Rule("the units are ns us µs ms s m h", LABELS, '{a="b"} | c>1ns | c>1us | c>1µs | c>1ms | c>1s | c>1m | c>1h', '{a="b"} | c > 1min', "'1min' is neither"),
    Rule("numbers are floating-point numbers", LABELS, '{a="b"} | c > 250 | c > 89.923', '{a="b"} | c > 89,923', "unexpected '923'"),
    Rule("numbers may be negative since 3.1", NOTES + "v3-1/", '{a="b"} | c > -30', '{a="b"} | c > -30', "'-' before a number in a label filter was added in 3.1", (3, 0)),
    Rule("sizes have a fraction and a unit", LABELS, '{a="b"} | c > 42MB | c > 1.5KiB | c > 20B', '{a="b"} | c > 1.5XB', "'1.5XB' is neither"),
    Rule("the units are B kB MB GB TB KB", LABELS, '{a="b"} | c>1B | c>1kB | c>1MB | c>1GB | c>1TB | c>1KB', '{a="b"} | c > 1mB', "'1mB' is neither"),
    Rule("the units are KiB MiB GiB TiB", LABELS, '{a="b"} | c>1KiB | c>1MiB | c>1GiB | c>1TiB', '{a="b"} | c > 1MIB', "'1MIB' is neither"),
    Rule("== or = is equality", LABELS, '{a="b"} | c == 5 | c = 5', '{a="b"} | c === 5', "unexpected '='"),
    Rule("!= is inequality", LABELS, '{a="b"} | c != 5', '{a="b"} | c <> 5', "unexpected '>'"),
    Rule("> and >= are greater", LABELS, '{a="b"} | c > 1m and d >= 20MB', '{a="b"} | c => 5', "unexpected '>'"),
    Rule("< and <= are less", LABELS, '{a="b"} | c < 1m and d <= 20MB', '{a="b"} | c =< 5', "unexpected '<'"),
    Rule("and joins predicates", LABELS, '{a="b"} | c >= 20ms and d!~"2.."', '{a="b"} | c >= 20ms and and d!~"2.."', "unexpected 'and'"),
    Rule("or joins predicates", LABELS, '{a="b"} | c >= 20ms or d == 20KB', '{a="b"} | c >= 20ms || d == 20KB', "unexpected '|'"),
    Rule("a comma joins predicates", LABELS, '{a="b"} | c >= 20ms , d == 20KB', '{a="b"} | c >= 20ms , ', "unexpected end of the expression"),
    Rule("a space joins predicates", LABELS, '{a="b"} | c >= 20ms  d == 20KB', '{a="b"} | c >= 20ms  20KB == d', "unexpected '20KB'"),
    Rule("a pipe joins predicates", LABELS, '{a="b"} | c >= 20ms | d == 20KB', '{a="b"} | c >= 20ms |', "unexpected end of the expression"),
    Rule("parentheses set the order", LABELS, '{a="b"} | c >= 20ms or (d="GET" and e <= 20KB)', '{a="b"} | c >= 20ms or (d="GET" and e <= 20KB', "unexpected end of the expression"),
    Rule("parentheses nest", LABELS, '{a="b"} | ((c >= 20ms or d="GET") and e <= 20KB)', '{a="b"} | (c >= 20ms))', "unexpected ')'"),
]

PARSERS = [
    Rule("json takes nothing", JSON, '{a="b"} | json', '{a="b"} | json 5', "unexpected '5'"),
    Rule("json takes labels and expressions", JSON, '{a="b"} | json c="servers[0]", d="request.headers[\\"User-Agent\\"]"', '{a="b"} | json c:"servers"', "':'"),
    Rule("expressions are quoted", JSON, '{a="b"} | json c="servers"', '{a="b"} | json c=servers', "unexpected 'servers'"),
    Rule("expressions access fields", JSON, '{a="b"} | json c="my.field"', '{a="b"} | json c="my..field"', "unexpected '.' in the JSON path"),
    Rule("expressions access keys", JSON, '{a="b"} | json c="my[\\"field\\"]"', '{a="b"} | json c="my[field]"', "unexpected '[' in the JSON path"),
    Rule("keys that are no words are in brackets", JSON, '{a="b"} | json c="headers[\\"User-Agent\\"]"', '{a="b"} | json c="headers.User-Agent"', "unexpected '-' in the JSON path"),
    Rule("expressions access elements", JSON, '{a="b"} | json c="list[0]"', '{a="b"} | json c="list[*]"', "unexpected '[' in the JSON path"),
    Rule("expressions combine both", JSON, '{a="b"} | json c="my.list[0][\\"field\\"]"', '{a="b"} | json c="my.list[0]field"', "unexpected 'f' in the JSON path"),
    Rule("expressions name something", JSON, '{a="b"} | json c="d"', '{a="b"} | json c=""', "unexpected the end in the JSON path"),
    Rule("a label alone is its own expression", JSON, '{a="b"} | json servers', '{a="b"} | json "servers"', "unexpected '\"servers\"'"),
    Rule("commas separate expressions", JSON, '{a="b"} | json c, d="e"', '{a="b"} | json c d="e"', "unexpected 'd'"),
    Rule("logfmt takes nothing", LOGFMT, '{a="b"} | logfmt', '{a="b"} | logfmt "x"', "unexpected '\"x\"'"),
    Rule("logfmt takes labels and expressions", LOGFMT, '{a="b"} | logfmt host, fwd_ip="fwd"', '{a="b"} | logfmt host, fwd_ip=fwd', "unexpected 'fwd'"),
    Rule("--strict stops at bad pairs", LOGFMT, '{a="b"} | logfmt --strict', '{a="b"} | logfmt --strick', "unexpected '-', expected --strict"),
    Rule("--keep-empty keeps keys without values", LOGFMT, '{a="b"} | logfmt --keep-empty --strict host', '{a="b"} | logfmt --keep_empty', "unexpected '-', expected --strict"),
    Rule("flags come before labels", LOGFMT, '{a="b"} | logfmt --strict host, fwd_ip="fwd"', '{a="b"} | logfmt host --strict', "unexpected '--strict'"),
    Rule("only logfmt has flags", LOGFMT, '{a="b"} | logfmt --strict', '{a="b"} | json --strict', "unexpected '--strict'"),
    Rule("pattern takes a string", PATTERN, '{a="b"} | pattern "<ip> <_>"', '{a="b"} | pattern <ip>', "unexpected '<'"),
    Rule("a pattern has captures and literals", PATTERN, '{a="b"} | pattern `<ip> - - <_> "<method> <uri> <_>" <status>`', '{a="b"} | pattern "- -"', "pattern needs a named capture"),
    Rule("a pattern has a named capture", PATTERN, '{a="b"} | pattern "<_> <ip>"', '{a="b"} | pattern "<_> <_>"', "pattern needs a named capture"),
    Rule("captures do not touch", PATTERN, '{a="b"} | pattern "<ip> <status>"', '{a="b"} | pattern "<ip><status>"', "need text between them"),
    Rule("regexp takes one string", REGEXP, '{a="b"} | regexp "(?P<c>\\\\w+)"', '{a="b"} | regexp "(?P<c>x)" "(?P<d>y)"', "unexpected '\"(?P<d>y)\"'"),
    Rule("regexp has a named sub-match", REGEXP, '{a="b"} | regexp `(?P<c>\\w+) (x)`', '{a="b"} | regexp `(\\w+)`', "regexp needs a named group"),
    Rule("regexp is RE2", REGEXP, '{a="b"} | regexp `(?P<c>\\d+?)`', '{a="b"} | regexp `(?P<c>\\d+`', "invalid regular expression"),
    Rule("each sub-match sets another label", REGEXP, '{a="b"} | regexp "(?P<c>x)(?P<d>y)"', '{a="b"} | regexp "(?P<c>x)(?P<c>y)"', "label 'c' is captured twice"),
    Rule("unpack takes nothing", LOG + "#unpack", '{a="b"} | unpack | json', '{a="b"} | unpack c', "unexpected 'c'"),
    Rule("line_format takes a string", LINE_FORMAT, '{a="b"} | line_format "{{.query}} {{.duration}}"', '{a="b"} | line_format query', "unexpected 'query'"),
    Rule("line_format takes one string", LINE_FORMAT, '{a="b"} | line_format "{{.c}}"', '{a="b"} | line_format "{{.c}}" "x"', "unexpected '\"x\"'"),
    Rule("templates may have backticks", LINE_FORMAT, '{a="b"} | line_format `{{ .c | default "-" }}`', '{a="b"} | line_format "{{ .c | default "-" }}"', "invalid Go template"),
    Rule("templates compute", LINE_FORMAT, '{a="b"} | line_format "{{div .duration 1000}}"', '{a="b"} | line_format "{{.duration / 1000}}"', "'/'"),
    Rule("dst=src renames a label", LABEL_FORMAT, '{a="b"} | label_format dst=src', '{a="b"} | label_format dst', "unexpected end of the expression"),
    Rule("the source is a label or a template", LABEL_FORMAT, '{a="b"} | label_format dst="{{.status}} {{.query}}"', '{a="b"} | label_format dst=5', "unexpected '5'"),
    Rule("commas separate the operations", LABEL_FORMAT, '{a="b"} | label_format c=d, e="{{.f}}"', '{a="b"} | label_format c=d e=f', "unexpected 'e'"),
    Rule("templates follow Go's syntax", LABEL_FORMAT, '{a="b"} | label_format c="{{.d}}"', '{a="b"} | label_format c="{{.d}"', "invalid Go template"),
    Rule("a label appears once", LABEL_FORMAT, '{a="b"} | label_format c=d | label_format c="new"', '{a="b"} | label_format c=d,c="new"', "label 'c' is given twice"),
    Rule("drop takes labels", DROP, '{a="b"}|json|drop level, path', '{a="b"}|json|drop', "unexpected end of the expression"),
    Rule("drop takes values", DROP, '{a="b"}|json|drop level, method="GET"', '{a="b"}|json|drop method=GET', "unexpected 'GET'"),
    Rule("drop takes expressions", DROP, '{a="b"}|json|drop level, app=~"some-api.*"', '{a="b"}|json|drop app=~"some-api.*("', "invalid regular expression"),
    Rule("drop removes __error__", DROP, '{a="b"}|json|drop __error__', '{a="b"}|json|drop "__error__"', "unexpected '\"__error__\"'"),
    Rule("keep takes labels", KEEP, '{a="b"}|json|keep level, path', '{a="b"}|json|keep level path', "unexpected 'path'"),
    Rule("keep takes values", KEEP, '{a="b"}|json|keep level, method="GET"', '{a="b"}|json|keep method=5', "unexpected '5'"),
    Rule("keep takes expressions", KEEP, '{a="b"}|json|keep level, app=~"some-api.*"', '{a="b"}|json|keep app=~some', "unexpected 'some'"),
]

RANGES = [
    Rule("an aggregation takes a range", RANGE, 'count_over_time({a="b"}[5m])', 'count_over_time({a="b"})', "a range such as [5m]"),
    Rule("an aggregation takes log lines", RANGE, 'rate({a="b"}[5m])', f"rate({R}[5m])", "unexpected 'rate'"),
    Rule("durations are those of Prometheus", METRIC, 'rate({a="b"}[1h30m])', 'rate({a="b"}[5])', "unexpected '5'"),
    Rule("the range follows the selector", RANGE, 'rate({a="b"}[1m] | json)', 'rate([1m]{a="b"} | json)', "unexpected '['"),
    Rule("or the range follows the pipeline", RANGE, 'rate({a="b"} |= "x" | json | d > 10s [1m])', 'rate({a="b"} | json [1m] | logfmt)', "unexpected '|'"),
    Rule("rate is not grouped", RANGE, 'sum by (c) (rate({a="b"}[1m]))', 'rate({a="b"}[1m]) by (c)', "rate does not accept a grouping"),
    Rule("count_over_time counts lines", RANGE, 'count_over_time({a="b"}[1m])', 'count_over_time({a="b"} | unwrap c [1m])', "count_over_time counts lines"),
    Rule("bytes_rate takes lines", RANGE, 'bytes_rate({a="b"}[1m])', 'bytes_rate({a="b"} | unwrap c [1m])', "bytes_rate counts lines"),
    Rule("bytes_over_time takes lines", RANGE, 'bytes_over_time({a="b"}[1m])', 'bytes_over_time({a="b"} | unwrap c [1m])', "bytes_over_time counts lines"),
    Rule("absent_over_time is not grouped", RANGE, 'absent_over_time({a="b"}[1m])', 'absent_over_time({a="b"}[1m]) by (c)', "absent_over_time does not accept a grouping"),
    Rule("offset follows the range", OFFSET, 'count_over_time({a="b"}[5m] offset 5m)', 'count_over_time({a="b"}[5m]) offset 5m', "unexpected 'offset'"),
    Rule("offset follows immediately", OFFSET, 'rate({a="b"}[5m] offset 5m | json)', 'rate({a="b"}[5m] | json offset 5m)', "unexpected 'offset'"),
    Rule("offset takes a duration", OFFSET, 'rate({a="b"}[5m] offset 1h)', 'rate({a="b"}[5m] offset 1)', "unexpected '1'"),
    Rule("unwrap takes a label", UNWRAP, 'sum_over_time({a="b"} | unwrap c [1m])', 'sum_over_time({a="b"} | unwrap "c" [1m])', "unexpected '\"c\"'"),
    Rule("unwrap ends the query", UNWRAP, 'sum_over_time({a="b"} | json | unwrap c [1m])', 'sum_over_time({a="b"} | unwrap c | json [1m])', "unexpected 'json'"),
    Rule("label filters may follow unwrap", UNWRAP, 'sum_over_time({a="b"} | unwrap c | __error__="" [1m])', 'sum_over_time({a="b"} | unwrap c |= "x" [1m])', "unexpected '|='"),
    Rule("unwrap is for aggregations", UNWRAP, 'max_over_time({a="b"} | unwrap c [1m])', '{a="b"} | unwrap c', "unwrap is only allowed"),
    Rule("duration_seconds() converts", UNWRAP, 'rate({a="b"} | unwrap duration_seconds(c) [1m])', 'rate({a="b"} | unwrap seconds(c) [1m])', "unknown conversion seconds"),
    Rule("duration() converts", UNWRAP, 'rate({a="b"} | unwrap duration(c) [1m])', 'rate({a="b"} | unwrap duration(c [1m])', "unexpected '['"),
    Rule("bytes() converts", UNWRAP, 'rate({a="b"} | unwrap bytes(c) [1m])', 'rate({a="b"} | unwrap bytes() [1m])', "unexpected ')'"),
    Rule("rate takes numbers", UNWRAP, 'rate({a="b"} | unwrap c [1m])', 'rate({a="b"} | unwrap [1m])', "unexpected '['"),
    Rule("rate_counter takes numbers", UNWRAP, 'rate_counter({a="b"} | unwrap c [1m])', 'rate_counter({a="b"}[1m])', "rate_counter needs a number"),
    Rule("rate_counter is not grouped", UNWRAP, 'rate_counter({a="b"} | unwrap c [1m])', 'rate_counter({a="b"} | unwrap c [1m]) by (d)', "rate_counter does not accept a grouping"),
    Rule("sum_over_time takes numbers", UNWRAP, 'sum_over_time({a="b"} | unwrap c [1m])', 'sum_over_time({a="b"}[1m])', "sum_over_time needs a number"),
    Rule("sum_over_time is not grouped", UNWRAP, 'sum_over_time({a="b"} | unwrap c [1m])', 'sum_over_time({a="b"} | unwrap c [1m]) by (d)', "sum_over_time does not accept a grouping"),
    *(
        Rule(f"{op} takes numbers", UNWRAP, f'{op}({{a="b"}} | unwrap c [1m])', f'{op}({{a="b"}}[1m])', f"{op} needs a number")
        for op in (
            *("avg_over_time", "max_over_time", "min_over_time", "first_over_time", "last_over_time"),
            *("stdvar_over_time", "stddev_over_time"),
        )
    ),
    Rule("quantile_over_time takes a number", UNWRAP, 'quantile_over_time(0.9, {a="b"} | unwrap c [1m])', 'quantile_over_time({a="b"} | unwrap c [1m])', "the quantile and a comma"),
    Rule("others take none", UNWRAP, 'max_over_time({a="b"} | unwrap c [1m])', 'max_over_time(0.9, {a="b"} | unwrap c [1m])', "max_over_time does not accept a number"),
    Rule("by groups behind the parentheses", UNWRAP, 'avg_over_time({a="b"} | unwrap c [1m]) by (d)', 'avg_over_time by (d) ({a="b"} | unwrap c [1m])', "unexpected 'by'"),
    Rule("without groups too", UNWRAP, 'avg_over_time({a="b"} | unwrap c [1m]) without (d)', 'avg_over_time({a="b"} | unwrap c [1m]) without d', "unexpected 'd'"),
    *(
        Rule(f"{op} takes metrics", AGGREGATION, f"{op}({R})", f'{op}({{a="b"}})', f"{op}() needs metrics, got log lines")
        for op in ("sum", "avg", "min", "max", "stddev", "stdvar", "count", "sort", "sort_desc")
    ),
    Rule("topk needs a number", AGGREGATION, f"topk(10, {R})", f"topk({R})", "expected a number and a comma"),
    Rule("bottomk needs a number", AGGREGATION, f"bottomk(10, {R})", f"bottomk({R})", "expected a number and a comma"),
    Rule("others take none", AGGREGATION, f"max({R})", f"max(10, {R})", "max does not accept a number"),
    Rule("by groups", AGGREGATION, f"sum by (c, d) ({R})", f"sum by (c d) ({R})", "unexpected 'd'"),
    Rule("without groups", AGGREGATION, f"sum({R}) without (c)", f"sum({R}) without c", "unexpected 'c'"),
    Rule("one grouping is enough", AGGREGATION, f"sum by (c) ({R})", f"sum by (c) ({R}) by (c)", "unexpected 'by'"),
    Rule("groupings name labels", AGGREGATION, f"sum by (c) ({R})", f'sum by ("c") ({R})', "unexpected '\"c\"'"),
    Rule("vector() takes a number", METRIC + "#functions", f"sum({R}) or vector(0)", f"vector({R})", "unexpected 'rate'"),
    Rule("approx_topk needs a number", APPROXIMATE, f"approx_topk(10, {R})", f"approx_topk({R})", "expected a number and a comma"),
    Rule("approx_topk is not grouped", APPROXIMATE, f"approx_topk(10, sum by (c) ({R}))", f"approx_topk(10, {R}) by (c)", "approx_topk does not accept a grouping"),
    Rule("approx_topk is new in 3.3", NOTES + "v3-3/", f"approx_topk(10, {R})", f"approx_topk(10, {R})", "approx_topk was added in 3.3", (3, 2)),
]

OPERATORS = [
    Rule("+ adds", ARITHMETIC, "1 + 1", '{a="b"} + 1', "'+' needs metrics or numbers"),
    Rule("- subtracts", ARITHMETIC, f"{R} - 1", f"{R} -", "unexpected end of the expression"),
    Rule("* multiplies", ARITHMETIC, f"sum({R}) * 2", f"* {R}", "unexpected '*'"),
    Rule("/ divides", ARITHMETIC, f"sum({R}) / sum({R})", "1 // 2", "unexpected '/'"),
    Rule("% is the remainder", ARITHMETIC, f"{R} % 2", "1 %% 2", "unexpected '%'"),
    Rule("^ is the power", ARITHMETIC, f"{R} ^ 2", f"{R} ** 2", "unexpected '*'"),
    Rule("literals have signs, metrics have none", ARITHMETIC, f"{R} * -2", f"-{R}", "unexpected 'rate'"),
    Rule("parentheses set the order", REFERENCE + "#order-of-operations", f"(1 + 2) * {R}", f"(1 + 2 * {R}", "unexpected end of the expression"),
    *(
        Rule(f"{op} joins metrics", LOGICAL, f"{R} {op} {R}", f"{R} {op} 1", f"'{op}' needs metrics on both sides")
        for op in ("and", "or", "unless")
    ),
    Rule("== is equal", COMPARISON, f"{R} == 1", f"{R} = 1", "unexpected '='"),
    Rule("!= is not equal", COMPARISON, f"{R} != 1", f"{R} <> 1", "unexpected '>'"),
    Rule("> is greater", COMPARISON, 'count_over_time({a="b"}[1m]) > 10', '{a="b"} > 10', "'>' needs metrics or numbers"),
    Rule(">= is greater or equal", COMPARISON, "1 >= 1", "1 => 1", "unexpected '='"),
    Rule("< is less", COMPARISON, f"sum without(app) ({R}) < {R}", f"{R} < <", "unexpected '<'"),
    Rule("<= is less or equal", COMPARISON, f"{R} <= 1", f"{R} =< 1", "unexpected '='"),
    Rule("bool follows a comparison", COMPARISON, f"{R} > bool 10", f"{R} bool > 10", "unexpected 'bool'"),
    Rule("bool is for comparisons", COMPARISON, f"{R} > bool {R}", f"{R} + bool {R}", "bool can only be used with comparisons"),
    Rule("bool is not for two numbers", COMPARISON, "1 >= 1", "1 >= bool 1", "bool cannot be used between two numbers"),
    Rule("ignoring takes labels", MATCHING, f"max by(c) ({R}) > bool ignoring(c) avg({R})", f"{R} > ignoring c {R}", "unexpected 'c'"),
    Rule("on takes labels", MATCHING, f"sum by(c) ({R}) / on() sum({R})", f"{R} / on sum({R})", "unexpected 'sum'"),
    Rule("on follows the operator", MATCHING, f"{R} / on(c) {R}", f"{R} on(c) / {R}", "unexpected 'on'"),
    Rule("bool comes before on", MATCHING, f"{R} > bool on(c) {R}", f"{R} > on(c) bool {R}", "unexpected 'bool'"),
    Rule("group_left follows on or ignoring", MANY, f"{R} / on (c) group_left {R}", f"{R} / group_left {R}", "unexpected 'group_left'"),
    Rule("group_right follows on or ignoring", MANY, f"{R} / ignoring (c) group_right {R}", f"{R} / group_right on (c) {R}", "unexpected 'group_right'"),
    Rule("group_left takes labels", MANY, f"{R} * on (c) group_left(d) {R}", f'{R} * on (c) group_left("d") {R}', "unexpected '\"d\"'"),
    Rule("group_right takes labels", MANY, f"{R} * on (c) group_right(d, e) {R}", f"{R} * on (c) group_right(d e) {R}", "unexpected 'e'"),
    Rule("group_left is not for set operations", MANY, f"{R} > on (c) group_left {R}", f"{R} and on (c) group_left {R}", "'and' cannot be used with group_left"),
    Rule("group_right is not for set operations", MANY, f"{R} + on (c) group_right {R}", f"{R} or on (c) group_right {R}", "'or' cannot be used with group_right"),
    Rule("# begins a comment", COMMENTS, '{app="foo"} # not read', '{app="foo"} // not read', "unexpected '/'"),
    Rule("comments end with the line", COMMENTS, '{app="foo"}\n  | json\n  # ignored\n  | bar="baz" # too', '{app="foo"} # ignored\n bar', "unexpected 'bar'"),
    Rule("a comment hides what follows", COMMENTS, 'rate({a="b"}[5m]) # )', 'rate({a="b"}[5m] # )', "unexpected end of the expression"),
    Rule("label filters find errors", ERRORS, '{a="b"} | json | __error__ != "JSONParserErr"', '{a="b"} | json | __error__ != JSONParserErr', "unexpected 'JSONParserErr'"),
    Rule("__error__ is not renamed", ERRORS, '{a="b"} | json | label_format c="{{.__error__}}"', '{a="b"} | json | label_format c=__error__', "cannot set or rename __error__"),
    Rule("__error__ is not set", ERRORS, '{a="b"} | json | drop __error__', '{a="b"} | json | label_format __error__=c', "cannot set or rename __error__"),
    Rule("errors of unwrap are found behind it", ERRORS, 'quantile_over_time(0.99, {a="b"} | json | unwrap c | __error__="" [1m]) by (d)', 'quantile_over_time(0.99, {a="b"} | json | unwrap c [1m] | __error__="") by (d)', "unexpected '|'"),
    Rule("label_replace takes five arguments", REPLACE, f'label_replace({R}, "foo", "$1", "service", "(.*):.*")', f'label_replace({R}, "foo", "$1", "service")', "expected ',' before the regular expression"),
    Rule("label_replace takes metrics", REPLACE, f'label_replace({R}, "c", "d", "e", "f")', 'label_replace({a="b"}, "c", "d", "e", "f")', "label_replace() needs metrics"),
    Rule("label_replace takes strings", REPLACE, f'label_replace({R}, "c", "d", "e", "f")', f'label_replace({R}, c, "d", "e", "f")', "unexpected 'c'"),
    Rule("label_replace takes an RE2 expression", REPLACE, f'label_replace({R}, "c", "d", "e", "f")', f'label_replace({R}, "c", "d", "e", "(")', "invalid regular expression"),
]

PIPELINE = TEMPLATE + "#template-pipeline-syntax"
TEMPLATES = [
    Rule("| chains functions", PIPELINE, '{{ .path | replace " " "_" | trunc 5 | upper }}', "{{ .path | 5 }}", "non executable command"),
    Rule("and and or join conditions", PIPELINE, '{{ if and (contains "he" .c) (contains "llo" .c) }} yes {{end}}', '{{ if (contains "he" .c) && .d }} yes {{end}}', "'&'"),
    Rule("if has an end", PIPELINE, '{{ if contains .err "x" }} a {{else if .b}} c {{else}} no {{end}}', '{{ if contains .err "x" }} a', "invalid Go template"),
    Rule("labels are variables", TEMPLATE + "#label_name", "{{ .path }}", "{{ path }}", "function 'path' not defined"),
    Rule("range reads lists", TEMPLATE + "#fromjson", "{{ range $q := fromJson .queries }} {{ $q.query }} {{ end }}", "{{ range $q := fromJson .queries }} {{ $p.query }} {{ end }}", "$p"),
]
FUNCTIONS = {
    "__line__": "__line__ | lower", "__timestamp__": "__timestamp__ | unixEpoch", "date": 'date "2006-01-02" now',
    "duration": ".foo | duration", "duration_seconds": "duration_seconds .foo", "now": "now",
    "toDate": 'toDate "2006-01-02" "2021-11-02"', "toDateInZone": 'toDateInZone "2006-01-02" "UTC" "2021-11-02"',
    "unixEpoch": "unixEpoch now", "unixEpochMillis": "unixEpochMillis now", "unixEpochNanos": "unixEpochNanos now",
    "unixToTime": 'date "2006-01-02" (unixToTime .from)', "alignLeft": 'alignLeft 5 "hi"', "alignRight": 'alignRight 5 "hi"',
    "b64enc": ".foo | b64enc", "b64dec": "b64dec .foo", "bytes": ".foo | bytes", "default": 'default "-" ""',
    "fromJson": 'fromJson "{\\"foo\\": 55}"', "lower": ".request_method | lower", "indent": "indent 4 .query",
    "nindent": "nindent 4 .query", "repeat": 'repeat 3 "hello"', "printf": 'printf "%-40.40s" .request_uri',
    "replace": '.cluster | replace "-cluster" ""', "substr": ".path | substr 2 5", "title": ".request_method | title",
    "trim": ".ip | trim", "trimAll": 'trimAll "$" "$5.00"', "trimPrefix": 'trimPrefix "-" "-hello"',
    "trimSuffix": 'trimSuffix "-" "hello-"', "trunc": 'trunc -5 "hello world"', "upper": 'upper "hello"',
    "urlencode": ".request_url | urlencode", "urldecode": "urldecode .request_url",
    "contains": 'if contains "he" "hello" }} yes {{end', "eq": 'if eq "ErrTimeout" .err }} timeout {{end',
    "hasPrefix": 'if hasPrefix "he" "hello" }} yes {{end', "hasSuffix": 'if hasSuffix .err "Timeout" }} timeout {{end',
    "add": "add 3 2 5", "addf": "addf 3.5 2 5", "ceil": "ceil 123.001", "div": "div 10 2", "divf": "divf 10 2 4",
    "float64": '"3.5" | float64', "floor": "floor 123.9999", "int": '"3" | int', "max": "max 1 2 3", "maxf": "maxf 1 2.5 3",
    "min": "min 1 2 3", "minf": "minf 1 2.5 3", "mul": "mul 5 2 3", "mulf": "mulf 5.5 2 2.5", "mod": "mod 10 3",
    "round": "round 123.88571428571 5 .2", "sub": "sub 5 2", "subf": "subf 5.5 2 1.5", "count": '__line__ | count "XYZ"',
    "regexReplaceAll": 'regexReplaceAll "(a*)bc" .some_label "${1}a"',
    "regexReplaceAllLiteral": 'regexReplaceAllLiteral "(ts=)" .timestamp "timestamp="',
}
"""The functions of templates, each with its documented example."""
# fmt: on


def in_query(template: str) -> str:
    return f'{{a="b"}} | line_format `{template}`'


def function_rule(name: str, example: str) -> Rule:
    good = f"{{{{ {example} }}}}"
    bad = re.sub(rf"\b{name}\b", name + "x", good, count=1)
    page = f"{TEMPLATE}#{name.lower()}"
    return Rule(f"{name} is a function", page, in_query(good), in_query(bad), f"function '{name}x' not defined")


RULES = [
    *(*STREAMS, *LINES, *FILTERS, *PARSERS, *RANGES, *OPERATORS),
    *(rule._replace(good=in_query(rule.good), bad=in_query(rule.bad)) for rule in TEMPLATES),
    *(function_rule(name, example) for name, example in FUNCTIONS.items()),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.text)
def test_a_documented_rule_is_enforced(rule: Rule) -> None:
    assert parse(rule.good).end <= len(rule.good)

    with pytest.raises(QueryProblem) as caught:
        parse(rule.bad, rule.release)
    problem = caught.value
    assert rule.message in problem.message
    # Only the end of a query has no token.
    assert 0 <= problem.start < problem.end <= len(rule.bad) or "unexpected end" in problem.message


def test_every_keyword_has_a_rule() -> None:
    words = {word for rule in RULES for word in re.findall(r"\w+", rule.good)}

    # The documentation does not mention variants(...) of (...).
    assert KEYWORDS - words == {"variants", "of"}


def test_every_rule_has_a_page_and_an_invalid_example_of_its_own() -> None:
    assert all(rule.page.startswith("https://") for rule in RULES)
    assert len({(rule.bad, rule.release) for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(("text", "inner"), [("1 + 2 / 3", "right"), ("2 * 3 % 2", "left")])
def test_operators_bind_as_documented(text: str, inner: str) -> None:
    tree = parse(text)

    assert isinstance(tree, Binary)
    assert isinstance(getattr(tree, inner), Binary)
