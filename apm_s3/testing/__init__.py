"""Helpers for tests, of this library and of programs that use it: a bucket in memory."""

from apm_s3.testing._memory import MemoryObjects

__all__ = ["MemoryObjects"]
