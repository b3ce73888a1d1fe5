"""Tasks that run together, deadlines, and programs of the machine."""

from __future__ import annotations

from apm_s3._processes import find_program
from apm_s3._tasks import Deadlines, Line, run_all, shielded, stop_all, wait_shielded
