"""The library's logger. It is silent until the application configures logging, and never gets a secret."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("apm_s3")
LOGGER.addHandler(logging.NullHandler())
