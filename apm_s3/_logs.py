"""The library's logger. It is silent until the application configures logging; no secret is ever given to it."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("apm_s3")
LOGGER.addHandler(logging.NullHandler())
