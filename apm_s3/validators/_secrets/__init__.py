"""What makes a value a secret (`names`, `shapes`), and texts, values and reports without them.

A value is a secret because of its field (the tools' own types declare it one, or its name is similar) or its form
(webhook addresses, keys of cloud providers, PEM blocks, passwords in URLs). A value that only says where
the secret is kept is not one: `password_file`, `${VAR}`, `$__file{/run/secrets/x}`, `<secret>`.
Nothing here ever returns, raises or logs the secret itself.
"""
