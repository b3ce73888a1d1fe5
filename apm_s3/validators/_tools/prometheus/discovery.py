"""Service discovery: the rules of each mechanism, from https://prometheus.io/docs/prometheus/latest/configuration/configuration/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Hook, Struct
from apm_s3.validators._grammars.values import BadUrl, Url, parse_url
from apm_s3.validators._tools.prometheus.gates import REGION_FROM_THE_INSTANCE
from apm_s3.validators._tools.prometheus.kubernetes import check_kubernetes
from apm_s3.validators._tools.prometheus_common import at_most_one, check_http_client

_FILE_PATTERN = re.compile(r"[^*]*(?:\*[^/]*)?\.(?:json|yml|yaml|JSON|YML|YAML)", re.DOTALL)

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "azure.SDConfig": ("subscription_id",),
    "consul.SDConfig": ("server",),
    "dns.SDConfig": ("names",),
    "eureka.SDConfig": ("server",),
    "file.SDConfig": ("files",),
    "gce.SDConfig": ("project", "zone"),
    "hetzner.SDConfig": ("role",),
    "ionos.SDConfig": ("datacenter_id",),
    "marathon.SDConfig": ("servers",),
    "moby.DockerSDConfig": ("host",),
    "moby.DockerSwarmSDConfig": ("host", "role"),
    "nomad.SDConfig": ("server",),
    "openstack.SDConfig": ("role", "region"),
    "outscale.SDConfig": ("region", "access_key"),
    "oci.SDConfig": ("region",),
    "ovhcloud.SDConfig": ("application_key", "application_secret", "consumer_key", "service"),
    "puppetdb.SDConfig": ("url", "query"),
    "http.SDConfig": ("url",),
    "scaleway.SDConfig": ("role", "project_id", "access_key"),
    "aws.SDConfig": ("role",),
    "triton.SDConfig": ("account", "dns_suffix", "endpoint"),
    "uyuni.SDConfig": ("server", "username", "password"),
    "xds.SDConfig": ("server",),
    "zookeeper.NerveSDConfig": ("servers", "paths"),
    "zookeeper.ServersetSDConfig": ("servers", "paths"),
}
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "azure.SDConfig": {},
    "consul.SDConfig": {"server": "localhost:8500"},
    "nomad.SDConfig": {"server": "http://localhost:4646"},
}
_CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("azure.SDConfig", "authentication_method"): ("OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"),
    ("aws.SDConfig", "role"): ("ec2", "ecs", "elasticache", "lightsail", "msk", "rds"),
    ("digitalocean.SDConfig", "role"): ("droplets", "databases"),
    ("hetzner.SDConfig", "role"): ("robot", "hcloud"),
    ("moby.DockerSwarmSDConfig", "role"): ("services", "nodes", "tasks"),
    ("openstack.SDConfig", "role"): ("instance", "hypervisor", "loadbalancer"),
    ("openstack.SDConfig", "availability"): ("public", "internal", "admin"),
    ("ovhcloud.SDConfig", "service"): ("dedicated_server", "vps"),
    ("scaleway.SDConfig", "role"): ("instance", "baremetal"),
    ("triton.SDConfig", "role"): ("container", "cn"),
    ("oci.SDConfig", "auth"): ("api_key", "instance_principal"),
}


def _check_table(sd: Struct, context: Context) -> None:
    """Check required fields and enumerations, which is enough for most mechanisms."""
    kind = sd.type.removeprefix("discovery/")
    for name in _REQUIRED.get(kind, ()):
        default = _DEFAULTS.get(kind, {}).get(name)
        if sd.empty(name) and (default is None or sd.given(name)):
            sd.error(context, name, "required-field", f"{_label(kind)} needs {name}")
    for (owner, name), choices in _CHOICES.items():
        value = sd.get(name) or ""
        # An empty value is not the default; a missing required field has already been reported.
        wrong = value not in choices and (value or name not in _REQUIRED.get(kind, ()))
        if owner == kind and name in sd.values and wrong:
            sd.unknown(context, name, name, value, choices)


def _label(kind: str) -> str:
    package, _, name = kind.partition(".")
    return f"{package if name == 'SDConfig' else name.removesuffix('SDConfig').lower()} service discovery"


def _check_azure(sd: Struct, context: Context) -> None:
    if (sd.get("authentication_method") or "OAuth") == "OAuth":
        for name in ("tenant_id", "client_id", "client_secret"):
            if sd.empty(name):
                sd.error(context, name, "required-field", f"azure service discovery with OAuth needs {name}")


def _check_consul(sd: Struct, context: Context) -> None:
    _check_not_blank(sd, context)
    if not (sd.empty("username") and sd.empty("password")) and not {"username", "password"} & sd.failed:
        if sd.has("basic_auth"):
            sd.error(context, "basic_auth", "auth-exclusive", "username and password cannot be used with basic_auth")
        elif any(sd.has(name) for name in ("authorization", "oauth2")) or sd.get("bearer_token"):
            sd.error(context, "username", "auth-exclusive", "username and password exclude other ways to authenticate")
    if sd.get("token") and (sd.has("authorization") or sd.has("oauth2")):
        message = "at most one of token, authorization and oauth2 may be set"
        sd.error(context, "token", "auth-exclusive", message)


def _check_not_blank(sd: Struct, context: Context) -> None:
    server = sd.get("server")
    if server and not server.strip():
        sd.error(context, "server", "required-field", "the server is blank")


def _check_dns(sd: Struct, context: Context) -> None:
    kind = (sd.get("type", "SRV") or "").upper()
    if kind == "SRV" or "type" in sd.failed:
        return
    if kind not in ("A", "AAAA", "MX", "NS"):
        sd.unknown(context, "type", "record type", kind, ("SRV", "A", "AAAA", "MX", "NS"))
    elif sd.empty("port"):
        sd.error(context, "port", "required-field", f"records of type {kind} need a port")


def _check_files(sd: Struct, context: Context) -> None:
    for index, pattern in sd.strings("files"):
        if not _FILE_PATTERN.fullmatch(pattern):
            message = f"{pattern[:80]!r} must end in .json, .yml or .yaml, and may have only one '*', in its last part"
            sd.error(context, ("files", index), "file-glob", message)


def _check_filters(sd: Struct, context: Context) -> None:
    for index, entry in enumerate(sd.get("filters") or ()):
        if entry is None or (isinstance(entry, Struct) and entry.empty("values")):
            sd.error(context, ("filters", index, "values"), "required-field", "a filter needs values")


def _server_url(*, schemes: tuple[str, ...] | None = None, field: str = "server") -> Hook:
    """Return a hook: the field must be a URL with a scheme (one of `schemes`) and a host."""

    def check(sd: Struct, context: Context) -> None:
        text = sd.get(field)
        if not text:
            return
        try:
            url = text if isinstance(text, Url) else parse_url(text)
        except BadUrl as exc:
            sd.error(context, field, "url", f"invalid URL: {exc}")
            return
        if schemes is not None and url.scheme not in schemes:
            sd.error(context, field, "url", f"the URL must begin with {' or '.join(f'{name}://' for name in schemes)}")
        elif not url.scheme or not url.host:
            sd.error(context, field, "url", "the URL needs a scheme and a host (http://host:port)")

    return check


def _check_marathon(sd: Struct, context: Context) -> None:
    at_most_one(sd, context, ("auth_token", "auth_token_file"), "auth-exclusive")
    others = ("basic_auth", "bearer_token", "bearer_token_file", "authorization")
    if not (sd.empty("auth_token") and sd.empty("auth_token_file")):
        for name in others:
            if sd.get(name):
                sd.error(context, name, "auth-exclusive", f"{name} cannot be used with auth_token or auth_token_file")


def _exactly_one_secret(sd: Struct, context: Context) -> None:
    names = ("secret_key", "secret_key_file")
    if not at_most_one(sd, context, names, "auth-exclusive") and all(sd.empty(name) for name in names):
        sd.error(context, "secret_key", "required-field", f"one of {' and '.join(names)} must be set")


def _check_ovhcloud(sd: Struct, context: Context) -> None:
    if sd.given("endpoint") and sd.empty("endpoint"):
        sd.error(context, "endpoint", "required-field", "the endpoint is empty")


def _check_oci(sd: Struct, context: Context) -> None:
    keys = ("tenancy", "user", "fingerprint", "key_file")
    api_key = (sd.get("auth") or "api_key") == "api_key"
    for name in keys:
        if api_key and sd.empty(name):
            sd.error(context, name, "required-field", f"oci service discovery with auth api_key needs {name}")
        elif not api_key and sd.get(name):
            sd.error(context, name, "exclusive-fields", f"{name} cannot be used with auth instance_principal")


def _check_paths(sd: Struct, context: Context) -> None:
    for index, path in sd.strings("paths"):
        if not path.startswith("/"):
            sd.error(context, ("paths", index), "format", "a Zookeeper path must begin with '/'")


_SCALEWAY_FORMATS = {
    "access_key": (re.compile(r"SCW[A-Z0-9]{17}"), "SCW and 17 capital letters or digits"),
    "secret_key": (re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "a UUID"),
    "project_id": (re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "a UUID"),
    "zone": (re.compile(r"[a-z]{2}-[a-z]{3}-[0-9]"), "a zone such as fr-par-1"),
}


def _check_scaleway(sd: Struct, context: Context) -> None:
    _exactly_one_secret(sd, context)
    for name, (pattern, expected) in _SCALEWAY_FORMATS.items():
        value = sd.get(name)
        if value and not pattern.fullmatch(value):
            sd.error(context, name, "format", f"{name} must be {expected}")
    for name in ("zone", "api_url"):
        if sd.given(name) and sd.empty(name):
            sd.error(context, name, "required-field", f"{name} is empty; omit it to use the default")


def _check_region(sd: Struct, context: Context) -> None:
    if sd.empty("region") and context.is_before(REGION_FROM_THE_INSTANCE):
        sd.error(context, "region", "required-field", f"{_label(sd.type.removeprefix('discovery/'))} needs region")


def _parses(field: str) -> Hook:
    """Return a hook: the field must be a URL."""

    def check(sd: Struct, context: Context) -> None:
        try:
            parse_url(sd.get(field) or "")
        except BadUrl as exc:
            sd.error(context, field, "url", f"invalid URL: {exc}")

    return check


def _check_stackit(sd: Struct, context: Context) -> None:
    if sd.empty("endpoint") and sd.given("region") and sd.empty("region"):
        sd.error(context, "region", "required-field", "stackit service discovery needs endpoint or region")


def _check_triton(sd: Struct, context: Context) -> None:
    if sd.given("refresh_interval") and (sd.get("refresh_interval") or 0) <= 0 and "refresh_interval" not in sd.failed:
        sd.error(context, "refresh_interval", "out-of-range", "refresh_interval must be above 0")


_SPECIAL: Mapping[str, tuple[Hook, ...]] = {
    "azure.SDConfig": (_check_azure,),
    "aws.EC2SDConfig": (_check_filters, _check_region),
    "aws.LightsailSDConfig": (_check_region,),
    "aws.RDSSDConfig": (_check_filters,),
    "consul.SDConfig": (_check_consul,),
    "dns.SDConfig": (_check_dns,),
    "eureka.SDConfig": (_server_url(),),
    "file.SDConfig": (_check_files,),
    "http.SDConfig": (_server_url(schemes=("http", "https"), field="url"),),
    "kubernetes.SDConfig": (check_kubernetes,),
    "marathon.SDConfig": (_check_marathon,),
    "moby.DockerSDConfig": (_parses("host"),),
    "moby.DockerSwarmSDConfig": (_parses("host"),),
    "nomad.SDConfig": (_check_not_blank,),
    "oci.SDConfig": (_check_oci,),
    "outscale.SDConfig": (_exactly_one_secret,),
    "ovhcloud.SDConfig": (_check_ovhcloud,),
    "puppetdb.SDConfig": (_server_url(schemes=("http", "https"), field="url"),),
    "scaleway.SDConfig": (_check_scaleway, _parses("api_url")),
    "stackit.SDConfig": (_check_stackit, _parses("endpoint")),
    "triton.SDConfig": (_check_triton,),
    "uyuni.SDConfig": (_parses("server"),),
    "xds.SDConfig": (_server_url(),),
    "zookeeper.NerveSDConfig": (_check_paths,),
    "zookeeper.ServersetSDConfig": (_check_paths,),
}


def discovery_hooks(types: Mapping[str, Mapping[str, str]]) -> Mapping[str, tuple[Hook, ...]]:
    """Return the checks of every mechanism in the table; those with an inline HTTP client get its rules as well."""
    return {name: tuple(_hooks(name, fields)) for name, fields in types.items() if name.startswith("discovery/")}


def _hooks(name: str, fields: Mapping[str, str]) -> Iterable[Hook]:
    yield _check_table
    yield from _SPECIAL.get(name.removeprefix("discovery/"), ())
    if "follow_redirects" in fields:
        yield check_http_client
