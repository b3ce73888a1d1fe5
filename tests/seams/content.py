"""Files and bundles before they are stored: names, directories, overlays, differences, and imports from git."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import apm_s3.configs._content.serialise as _names  # `serialise` is a function here
from apm_s3 import _directories
from apm_s3._directories import read_files
from apm_s3._naming import MAX_NAME_BYTES, OVERLAY, check_file_name, check_new_file_name
from apm_s3.configs._content import files as _written
from apm_s3.configs._content.diff import MAX_CHANGES, MAX_LINES, diff_bundles
from apm_s3.configs._content.edits import load
from apm_s3.configs._content.files import MAX_BUNDLE, MAX_FILE, read_directory, write_directory
from apm_s3.configs._content.overlays import apply_overlay, base_files, check_overlay, is_reserved
from apm_s3.configs._content.serialise import MAX_FILES, check_names, serialise
from apm_s3.configs._content.structure import Difference, changed_blocks, differences, item_names
from apm_s3.configs._imports import git as _git
from apm_s3.configs._imports import importing as _places
from apm_s3.configs._imports.git import Commit
from apm_s3.configs._imports.importing import Layout, message_of


def limit_directories(monkeypatch: pytest.MonkeyPatch, *, files: int | None = None, size: int | None = None) -> None:
    """Read directories only up to so many files, or bytes."""
    if files is not None:
        monkeypatch.setattr(_directories, "MAX_FILES", files)
    if size is not None:
        monkeypatch.setattr(_directories, "MAX_BYTES", size)


def forbid_exchanges_of_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system have no call that exchanges two directories."""
    monkeypatch.setattr(_written.ctypes, "CDLL", lambda *_, **__: SimpleNamespace())


def pretend_to_be_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the names that Windows refuses."""
    monkeypatch.setattr(_written, "_IS_WINDOWS", True)


def limit_git(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    """Lower limits of imports: `MAX_BYTES`, `MAX_OBJECT`, `MAX_COMMITS`, and the seconds of `DEADLINE`."""
    for name, limit in limits.items():
        monkeypatch.setattr(_git, name, limit)


def hold_few_bytes_of_an_import(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Keep at most `size` bytes of an import's files in memory."""
    monkeypatch.setattr(_places, "_MAX_HELD", size)


def let_git_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not tell git to leave missing objects alone."""
    monkeypatch.delitem(_git._VARIABLES, "GIT_NO_LAZY_FETCH")


def accept_names_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store files under names that only other systems mistake, as releases of earlier versions did."""
    monkeypatch.setattr(_names, "check_new_file_name", check_file_name)
    monkeypatch.setattr(_names, "folded_name", str)
