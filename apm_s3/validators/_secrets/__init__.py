"""What makes a value a secret (`names`, `shapes`), and texts, values and reports without them.

A value is a secret by the field it stands in (the fields that the tools' own types declare as secrets, and names like
them) or by its shape (webhook addresses, keys of cloud providers, PEM blocks, passwords in URLs). A value that only
says where the secret is kept is not one: `password_file`, `${VAR}`, `$__file{/run/secrets/x}`, `<secret>`.
Nothing here ever returns, raises or logs the secret itself.
"""
