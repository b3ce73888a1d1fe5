"""Configurations built from the table of Prometheus's fields: each field in turn gets values of the wrong kind."""

import json
import random

from tools.field_tables.__main__ import DATA

CONFIG = "prometheus/config.Config"
TYPES = json.loads((DATA / "prometheus.json").read_text("utf-8"))["types"]

JUNK = (None, [None], [], {}, "", 0, "x", [{}], [[]], {"a": None}, True, -1, "5m", "http://a:80", ["a"], "1KB", ":")
UUID = "00000000-0000-0000-0000-000000000000"
VALUES = {
    "access_key": "SCWABCDEFGH123456789",
    "files": ["a.json"],
    "names": ["a"],
    "paths": ["/a"],
    "project_id": UUID,
    "region": "a",
    "role": "pod",
    "secret_key": UUID,
    "server": "http://a",
    "servers": ["a"],
    "service": "vps",
    "url": "http://a",
}
REQUIRED = {
    "aws.EC2SDConfig": ("region",),
    "aws.LightsailSDConfig": ("region",),
    "config.OAuth2": ("client_id", "token_url"),
    "config.RemoteReadConfig": ("url",),
    "config.RemoteWriteConfig": ("url",),
    "config.ScrapeConfig": ("job_name",),
    "config.TracingConfig": ("endpoint",),
    "dns.SDConfig": ("names",),
    "eureka.SDConfig": ("server",),
    "file.SDConfig": ("files",),
    "gce.SDConfig": ("project", "zone"),
    "hetzner.SDConfig": ("role",),
    "http.SDConfig": ("url",),
    "ionos.SDConfig": ("datacenter_id",),
    "kubernetes.SDConfig": ("role",),
    "marathon.SDConfig": ("servers",),
    "moby.DockerSDConfig": ("host",),
    "moby.DockerSwarmSDConfig": ("host", "role"),
    "openstack.SDConfig": ("role", "region"),
    "ovhcloud.SDConfig": ("application_key", "application_secret", "consumer_key", "service"),
    "puppetdb.SDConfig": ("url", "query"),
    "scaleway.SDConfig": ("role", "project_id", "access_key", "secret_key"),
    "triton.SDConfig": ("account", "dns_suffix", "endpoint"),
    "uyuni.SDConfig": ("server", "username", "password"),
    "zookeeper.NerveSDConfig": ("servers", "paths"),
    "zookeeper.ServersetSDConfig": ("servers", "paths"),
}
ROLES = {"hetzner": "robot", "moby": "nodes", "openstack": "instance", "scaleway": "instance"}
_SCALARS = ("model/relabel.Regexp", "common/config.URL")


def configurations(seed, count, release, without):
    """`count` documents for `release`, none with a field that `without` matches."""
    found = list(_walk(CONFIG, lambda document: document, release, without, ()))
    random.Random(seed).shuffle(found)
    return found[:count]


def _walk(kind, wrap, release, without, above):
    if kind in above or len(above) > 5:
        return
    for name, entry in TYPES[kind].items():
        rules = {"kind": entry} if isinstance(entry, str) else entry
        inner = rules["kind"]
        if without.search(name) or _version(rules.get("since", "0")) > release or "until" in rules:
            continue
        base = _minimal(kind)
        for value in JUNK:
            yield wrap({**base, name: value})
        below = inner.removeprefix("[]").removeprefix("{}")
        if below in TYPES and below not in _SCALARS:
            yield from _walk(below, _wrapper(wrap, base, name, inner), release, without, (*above, kind))


def _version(text):
    return tuple(map(int, text.split(".")))


def _wrapper(wrap, base, name, kind):
    def inside(document):
        value = [document] if kind.startswith("[]") else {"a": document} if kind.startswith("{}") else document
        return wrap({**base, name: value})

    return inside


def _minimal(kind):
    names = next((names for end, names in REQUIRED.items() if kind.endswith(end)), ())
    values = {name: VALUES.get(name, "a") for name in names}
    package = kind.rpartition("/")[2].partition(".")[0]
    if "role" in values and package in ROLES:
        values["role"] = ROLES[package]
    return values
