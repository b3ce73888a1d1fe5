"""Finds secrets by name and form (`forms`), and masks them in texts (`texts`), values and reports (`known`).

A value is a secret because of its field (the tool's own types declare it as secret, or its name is similar) or its form
(webhook addresses, keys of cloud providers, PEM blocks, passwords in URLs). A value that only says where the secret is
kept is not a secret: `password_file`, `${VAR}`, `$__file{/run/secrets/x}`, `<secret>`.
Nothing in this package returns, raises or logs a secret.
"""
