"""`remote_write`, `remote_read`, `alerting`, `otlp`, `storage` and `tracing`."""

from __future__ import annotations

import re

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Mismatch, Struct
from apm_s3.validators._grammars.values import SECOND, Url
from apm_s3.validators._tools.prometheus.gates import (
    IDENTITY_OF_THE_SYSTEM,
    QUEUE_BOUNDS,
    UTF8_NAMES,
    WITHOUT_ALERTMANAGER_V1,
)
from apm_s3.validators._tools.prometheus.scrape import (
    check_label_names,
    check_no_nulls,
    check_static_targets,
    is_legacy,
)

_RESERVED_HEADERS = frozenset(
    (
        *("host", "content-encoding", "content-length", "content-type", "user-agent", "connection", "keep-alive"),
        *("proxy-authenticate", "proxy-authorization", "www-authenticate", "accept-encoding", "x-amz-date"),
        *("x-prometheus-remote-write-version", "x-prometheus-remote-read-version"),
        *("x-amz-security-token", "x-amz-content-sha256"),
    )
)
_MESSAGES = ("prometheus.WriteRequest", "io.prometheus.write.v2.Request")
_TRANSLATIONS = (
    *("UnderscoreEscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes"),
    *("NoUTF8EscapingWithSuffixes", "NoTranslation"),
)
_UTF8_TRANSLATIONS = ("NoUTF8EscapingWithSuffixes", "NoTranslation")
_AUTH = ("basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam")
_CLOUDS = ("AzureChina", "AzureGovernment", "AzurePublic")
_AZURE_METHODS = ("managed_identity", "oauth", "sdk", "workload_identity", "certificate")
_UUID = re.compile(r"(?:urn:uuid:)?\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?|[0-9a-fA-F]{32}")
_TENANT = re.compile(r"[0-9a-zA-Z.-]+")
_QUEUE_DEFAULTS = {"max_shards": 50, "min_shards": 1, "max_samples_per_send": 2000, "capacity": 10000}
_BACKOFFS = {"min_backoff": 30 * 10**6, "max_backoff": 5 * SECOND}


def parse_alertmanager_version(text: str) -> str:
    """Parse the version of Alertmanager's API.

    Raises:
        Mismatch: Prometheus does not support it.
    """
    if text not in ("v1", "v2"):
        raise Mismatch("enum", f"unknown Alertmanager API version {text[:40]!r}; only v2 is supported")
    return text


def parse_translation(text: str) -> str:
    """Parse the strategy for translating OTLP names.

    Raises:
        Mismatch: unknown strategy.
    """
    if text not in (*_TRANSLATIONS, ""):
        raise Mismatch.unknown("translation strategy", text, _TRANSLATIONS)
    return text


def parse_client_type(text: str) -> str:
    """Parse the protocol for sending traces.

    Raises:
        Mismatch: it is neither http nor grpc.
    """
    if text not in ("http", "grpc"):
        raise Mismatch.unknown("client_type", text, ("http", "grpc"))
    return text


def check_remote_write(target: Struct, context: Context) -> None:
    """Check the rules of RemoteWriteConfig.UnmarshalYAML."""
    _check_url(target, context)
    check_no_nulls(target, "write_relabel_configs", "relabelling rule", context)
    check_headers(target, context)
    message = target.get("protobuf_message", _MESSAGES[0])
    if "protobuf_message" not in target.failed and message not in _MESSAGES:
        target.unknown(context, "protobuf_message", "protobuf_message", message or "", _MESSAGES)
    used = _ways_to_authenticate(target)
    if len(used) > 1:
        target.error(context, used[1], "auth-exclusive", f"at most one of {', '.join(_AUTH)} may be set")


def _ways_to_authenticate(target: Struct) -> list[str]:
    """Return the fields that set authentication; a bearer token counts as authorization."""
    used = [name for name in _AUTH if target.has(name)]
    if not {"authorization", "basic_auth", "oauth2"} & set(used):
        used = [name for name in ("bearer_token", "bearer_token_file") if target.get(name)][:1] + used
    return used


def check_remote_read(target: Struct, context: Context) -> None:
    """Check the rules of RemoteReadConfig.UnmarshalYAML."""
    _check_url(target, context)
    check_headers(target, context)
    check_label_names(target, "required_matchers", context, legacy=context.is_before(UTF8_NAMES))


def _check_url(target: Struct, context: Context) -> None:
    if "url" not in target.failed and not target.has("url"):
        target.error(context, "url", "required-field", "the url is empty")
    url = target.get("url")
    if isinstance(url, Url) and url.scheme not in ("http", "https"):
        message = "Prometheus cannot use this URL: it must begin with http:// or https://"
        target.warn(context, "url", "url", message)


def check_headers(target: Struct, context: Context) -> None:
    """Check that `headers` has no header that Prometheus sets itself."""
    for name in target.get("headers") or ():
        if name.lower() == "authorization":
            message = "set authorization with basic_auth, authorization or another such field, not as a header"
            target.error(context, ("headers", name), "reserved-header", message)
        elif name.lower() in _RESERVED_HEADERS:
            target.error(context, ("headers", name), "reserved-header", f"{name!r} is a reserved header")


def check_queue(queue: Struct, context: Context) -> None:
    """Check that numbers are above 0, and minimums below maximums."""
    if context.is_before(QUEUE_BOUNDS):
        return
    for name, default in _QUEUE_DEFAULTS.items():
        if name not in queue.failed and queue.get(name, default) <= 0:
            queue.error(context, name, "out-of-range", f"{name} must be above 0")
    if queue.get("min_shards", 1) > queue.get("max_shards", 50) > 0 and not {"min_shards", "max_shards"} & queue.failed:
        queue.error(context, "min_shards", "out-of-range", "min_shards is greater than max_shards")
    low, high = (queue.get(name, default) or 0 for name, default in _BACKOFFS.items())
    if high < low and not _BACKOFFS.keys() & queue.failed:
        queue.error(context, "max_backoff", "out-of-range", "max_backoff is less than min_backoff")


def check_sigv4(sigv4: Struct, context: Context) -> None:
    """Check that both keys or none are set, and that an external id has a role."""
    if sigv4.empty("access_key") != sigv4.empty("secret_key") and not {"access_key", "secret_key"} & sigv4.failed:
        where = "secret_key" if sigv4.empty("access_key") else "access_key"
        sigv4.error(context, where, "required-field", "access_key and secret_key must be set together")
    if not sigv4.empty("external_id") and sigv4.empty("role_arn"):
        sigv4.error(context, "external_id", "required-field", "external_id needs role_arn")


def check_azuread(azure: Struct, context: Context) -> None:
    """Check that there is one way to authenticate, and the format of ids."""
    cloud = azure.get("cloud") or "AzurePublic"
    if cloud not in _CLOUDS:
        azure.unknown(context, "cloud", "cloud", cloud, _CLOUDS)
    used = [name for name in _AZURE_METHODS if azure.has(name)]
    if len(used) != 1 and not azure.failed:
        where = used[1] if used else "azuread"
        azure.error(context, where, "auth-exclusive", f"exactly one of {', '.join(_AZURE_METHODS)} must be set")
    for name in used:
        method = azure.struct(name)
        if method is not None:
            _check_azure_method(method, name, context)


def _check_azure_method(method: Struct, name: str, context: Context) -> None:
    required = {
        "oauth": ("client_id", "client_secret", "tenant_id"),
        "workload_identity": ("client_id", "tenant_id"),
        "certificate": ("client_id", "certificate_path", "tenant_id"),
    }.get(name, ())
    if name == "managed_identity" and context.is_before(IDENTITY_OF_THE_SYSTEM):
        required = ("client_id",)
    for field in required:
        if method.empty(field):
            method.error(context, field, "required-field", f"{name} needs {field}")
    client, tenant = method.get("client_id") or "", method.get("tenant_id") or ""
    if client and not _UUID.fullmatch(client):
        method.error(context, "client_id", "format", "client_id is not a UUID")
    if tenant and not _TENANT.fullmatch(tenant):
        method.error(context, "tenant_id", "format", "tenant_id has characters other than letters, digits, '.' and '-'")


def check_alertmanager(target: Struct, context: Context) -> None:
    """Check the rules of AlertmanagerConfig.UnmarshalYAML."""
    if target.get("api_version") == "v1" and not context.is_before(WITHOUT_ALERTMANAGER_V1):
        target.error(context, "api_version", "enum", "Alertmanager API v1 was removed in Prometheus 3; use v2")
    used = _ways_to_authenticate(target)
    if "sigv4" in used and len(used) > 1:
        target.error(
            context, "sigv4", "auth-exclusive", "sigv4 cannot be used with basic_auth, authorization or oauth2"
        )
    for field in ("relabel_configs", "alert_relabel_configs"):
        check_no_nulls(target, field, "relabelling rule", context)
    check_static_targets(target, context)


def check_alerting(alerting: Struct, context: Context) -> None:
    """Check that there are no null entries."""
    check_no_nulls(alerting, "alert_relabel_configs", "relabelling rule", context)
    # Prometheus does not check this, and crashes.
    check_no_nulls(alerting, "alertmanagers", "section in alertmanagers", context)


def check_otlp(otlp: Struct, context: Context) -> None:
    """Check the rules of OTLPConfig.UnmarshalYAML."""
    every = bool(otlp.get("promote_all_resource_attributes"))
    if every and otlp.get("promote_resource_attributes"):
        message = "promote_resource_attributes cannot be used with promote_all_resource_attributes"
        otlp.error(context, "promote_resource_attributes", "exclusive-fields", message)
    if otlp.get("ignore_resource_attributes") and not every:
        message = "ignore_resource_attributes needs promote_all_resource_attributes"
        otlp.error(context, "ignore_resource_attributes", "required-field", message)
    for field in ("promote_resource_attributes", "ignore_resource_attributes"):
        seen: set[str] = set()
        for index, attribute in otlp.strings(field):
            name = attribute.strip()
            if not name:
                otlp.error(context, (field, index), "required-field", "an attribute is empty")
            elif name in seen:
                otlp.error(context, (field, index), "duplicate-name", f"attribute {name[:80]!r} is listed twice")
            seen.add(name)


def check_otlp_with_global(otlp: Struct, settings: Struct | None, context: Context) -> None:
    """Check that translations that keep UTF-8 names are not used with the legacy scheme."""
    if otlp.get("translation_strategy") in _UTF8_TRANSLATIONS and is_legacy(None, settings):
        message = "this translation strategy keeps UTF-8 names, but the global validation scheme is legacy"
        otlp.error(context, "translation_strategy", "cross-section", message)


def check_tsdb(tsdb: Struct, context: Context) -> None:
    """Check the limits of retention, and the chunk encoding."""
    if (retention := tsdb.struct("retention")) is not None:
        if (retention.get("size") or 0) < 0:
            retention.error(context, "size", "out-of-range", "the retention size cannot be negative")
        if not 0 <= (retention.get("percentage") or 0) <= 100:
            retention.error(context, "percentage", "out-of-range", "the retention percentage must be from 0 to 100")
    chunks = tsdb.struct("chunk_encoding")
    if chunks is not None and chunks.get("floats") not in (None, "", "xor", "xor2"):
        chunks.error(context, "floats", "enum", "chunk_encoding.floats must be xor or xor2")


def check_tracing(tracing: Struct, context: Context) -> None:
    """Check the rules of TracingConfig.UnmarshalYAML."""
    check_headers(tracing, context)
    if tracing.empty("endpoint"):
        tracing.error(context, "endpoint", "required-field", "tracing needs an endpoint")
    if tracing.get("compression") not in (None, "", "gzip"):
        tracing.error(context, "compression", "enum", "unknown compression; use gzip")


def check_names(targets: list[Struct], what: str, context: Context) -> None:
    """Check that names are unique."""
    names: set[str] = set()
    for target in targets:
        name = target.get("name")
        if name and name in names:
            message = f"there is more than one {what} configuration with the name {name[:80]!r}"
            target.error(context, "name", "duplicate-name", message)
        names.add(name)
