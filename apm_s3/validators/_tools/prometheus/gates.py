"""The releases of Prometheus that know each rule and function; `_data/prometheus.json` has those of fields and values.

From https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md; fields of libraries (`http_headers`, `sigv4`,
`oauth2`) from the release that first used that version of the library. Fields without an entry exist since 2.45 or
earlier.
"""

from __future__ import annotations

from apm_s3.validators._checking import Version

UTF8_NAMES: Version = (3, 0)
"""Metrics and labels may have any UTF-8 name, unless the legacy scheme is set."""
REGION_FROM_THE_INSTANCE: Version = (3, 0)
"""AWS discovery can take the region from the environment or from the instance's metadata."""
ADDRESSES_WITHOUT_PORT: Version = (3, 0)
"""Target addresses no longer get a port from the scheme, and need none."""
WITHOUT_ALERTMANAGER_V1: Version = (3, 0)
"""Version 1 of Alertmanager's API is no longer supported."""
IDENTITY_OF_THE_SYSTEM: Version = (3, 5)
"""An Azure managed identity without a client id is the system-assigned one."""
SELECTORS_OF_OTHER_ROLES: Version = (3, 11)
"""Kubernetes discovery of pods accepts selectors of other roles."""
QUEUE_BOUNDS: Version = (3, 12)
"""The numbers of a remote-write queue are validated."""
TEMPLATE_FUNCTIONS_SINCE: dict[str, Version] = {"now": (3, 6), "toDuration": (3, 6), "urlQueryEscape": (3, 8)}
