"""Configurations with their secrets masked, for callers that may not read secrets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from apm_s3.configs import Bundle, ConfigFile
from apm_s3.configs._content.overlays import has_old_base, is_internal, secrets_in
from apm_s3.configs._models import format_of, masking_inputs
from apm_s3.errors import ConfigInvalid
from apm_s3.fastapi._authorisation import HttpCall
from apm_s3.fastapi._problems import ProblemError
from apm_s3.reports import ValidationReport
from apm_s3.validators import parse_document
from apm_s3.validators._secrets.forms import MASK
from apm_s3.validators._secrets.known import KnownSecrets, Searched
from apm_s3.validators._secrets.texts import decode, mask_text
from apm_s3.validators._validation.cache import ResultCache
from apm_s3.validators._validation.offload import run_large

Inputs = Sequence[tuple[str, str]]
"""Names and hashes of files."""

_MAX_KEPT = 16 * 1024**2
"""Bytes of masked texts that a process remembers: finding secrets costs milliseconds."""


_masked: ResultCache[tuple[str, ...], bytes] = ResultCache(len, _MAX_KEPT)
"""Masked files by the hashes of what they depend on."""


async def mask_file(
    call: HttpCall,
    file: ConfigFile,
    inputs: Inputs | None = None,
    held: Mapping[str, ConfigFile] = MappingProxyType({}),
) -> bytes:
    """Return the content of a file with its secrets masked.

    What is a secret in one of the files that an overlay made it from is one in the result, whatever surrounds it there.

    Args:
        inputs: those files, by default of the release that the file was read of.
        held: files of this release that need not be read.

    Raises:
        ProblemError: it is not text, so that nobody can tell what is a secret.
    """
    if inputs is None:
        inputs = vars(file).get("inputs", ())
    key = {file.name: (file.name, file.sha256, *(sha256 for _, sha256 in inputs))}
    if known := _masked.find(key):
        return known[file.name]
    text = decode(file.raw)
    if text is None:
        raise ProblemError(
            403, "not-maskable", f"'{file.name}' is not text: reading it needs the permission to read secrets."
        )
    raws = {}
    for name, _ in inputs:
        other = held.get(name)
        if other is None:
            other = await call.configs.download(file.tool, file.environment, name, revision=file.revision)
        raws[name] = other.raw
    masked = (await run_large(partial(_mask, file.name, file.raw, text, raws), len(file.raw))).encode()
    _masked.keep(key, {file.name: masked})
    return masked


def _mask(name: str, raw: bytes, text: str, others: Mapping[str, bytes]) -> str:
    if not others:
        return mask_text(name, text)
    searched = Searched(name, text, secrets_in(name, raw, others) or ())
    texts = [(each, decode(other)) for each, other in others.items()]
    told = [searched, *(Searched(each, other) for each, other in texts if other is not None)]
    secrets = (secret for each in told for secret in each.secrets())
    return KnownSecrets(secrets, weak=has_old_base(name, raw, others)).masked(searched)


async def mask_files(call: HttpCall, bundle: Bundle) -> dict[str, bytes]:
    """Return the contents of a bundle's files with their secrets masked, by name, without those made by overlays.

    Raises:
        ProblemError: one of them is not text.
    """
    return {
        name: await mask_file(call, file, masking_inputs(bundle.release, name), bundle.files)
        for name, file in bundle.files.items()
        if not is_internal(name)
    }


def masked_etag(revision: int, masked: bytes, variant: str = "") -> str:
    """Return the ETag of a masked file. It contains no hash of the secrets, from which they could be guessed."""
    return f'"{revision}-m{variant}{hashlib.sha256(masked).hexdigest()}"'


def refuse_masked(name: str, new: bytes, old: bytes) -> None:
    """Refuse content in which secrets are masked: storing it would replace the secrets.

    Raises:
        ProblemError: it has more masked values than the content that it replaces.
    """
    if _masks(new) > _masks(old):
        raise ProblemError(
            422,
            "masked-content",
            f"'{name}' contains {MASK} in place of a secret: it was read without the permission to read secrets.",
        )


def _masks(raw: bytes) -> int:
    return (decode(raw) or "").count(MASK)


async def parsed(name: str, raw: bytes) -> Any:
    """Return the parsed content of a file, for JSON.

    Raises:
        ConfigInvalid: it cannot be parsed.
    """
    found = await run_large(partial(_parsed, raw, format_of(name)), len(raw))
    if isinstance(found, ConfigInvalid):
        raise found
    return found[0]


def _parsed(raw: bytes, form: Any) -> tuple[Any] | ConfigInvalid:
    # A process that ends with an exception counts as failed.
    try:
        return (parse_document(raw, form),)
    except ConfigInvalid:
        return ConfigInvalid("it cannot be parsed", report=ValidationReport("", str(form), None, ()))
