"""Marks damage in the reference document after a repair. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from apm_s3.configs._care.fsck import ToolCheck
from apm_s3.configs._care.history import Document, damages, proven_keys, trace
from apm_s3.configs._models.current import Damage, ToolState
from apm_s3.configs._models.releases import Release


def marks(state: ToolState, check: ToolCheck) -> tuple[Damage, ...]:
    """Return the marks of a tool's damage for the reference document."""
    marks = damages(check.history, check.without_files)
    good = state.good
    if good is None or good.revision >= state.oldest or check.release(good) is not None:
        return marks
    # The good release is older than all other kept releases.
    return Damage(good.revision, good.revision, "documents"), *marks


def found_again(state: ToolState | None, chosen: Release, documents: Mapping[str, Document]) -> ToolState:
    """Return the certain part of a tool's state after the reference document has lost its last commits, or all.

    If all are lost, it is not known which revisions were kept, so all releases in the chain of parents are used.
    """
    proven = proven_keys(documents)
    refs = [each.release.ref for key, each in documents.items() if key in proven and each.release is not None]
    refs += [chosen.ref, None if state is None else state.release]
    newest = max((ref for ref in refs if ref is not None), key=lambda ref: (ref.revision, ref == chosen.ref))
    if state is not None:
        state = replace(state, release=newest)
        return replace(state, damaged=damages(trace(state, documents), ()))
    history = trace(ToolState(newest), documents, certain=True)
    return ToolState(newest, oldest=history.oldest, damaged=damages(history, ()))


def told(damaged: tuple[Damage, ...]) -> str:
    runs = [f"{each.first}" if each.first == each.last else f"{each.first} to {each.last}" for each in damaged]
    return f"marked as damaged: revision {', '.join(runs)}"
