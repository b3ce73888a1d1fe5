"""Keeps secrets out of the DEBUG logs of botocore, aiobotocore and urllib3.

They log whole requests, including session tokens, signatures, customer encryption keys and proxy passwords. A filter on
a parent logger does not see the records of its children, so each logger has one. It costs nothing while DEBUG is off.
"""

from __future__ import annotations

import logging

from apm_s3._redaction import redacted

_PACKAGES = ("botocore", "aiobotocore", "urllib3")


class Internal(Exception):
    """Stops a botocore call from the inside; it is never logged."""


class Redaction(logging.Filter):
    """Masks secrets in log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask secrets in `record`; return False to drop it."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Internal):
            return False
        record.msg, record.args = redacted(record.getMessage()), ()
        if record.exc_info:
            # Format it now, because a later formatter would find the secrets in the exception again.
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


_REDACTION = Redaction()


def redact_logs() -> None:
    """Add the filter to every existing logger of these packages; call it again for new loggers."""
    for package in _PACKAGES:
        logging.getLogger(package).addFilter(_REDACTION)
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _PACKAGES:
            logger.addFilter(_REDACTION)
