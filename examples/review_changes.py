"""A check for pull requests: validate the files of a folder offline, and say where each problem is.

Does not need S3. Pass a tool and a folder; by default it checks the example configuration of Prometheus.
"""

import argparse
import sys
from pathlib import Path

from apm_s3 import TOOLS, Tool, validate_bundle

EXAMPLE = Path(__file__).parent / "configs" / "prometheus"


def main(tool: Tool, folder: Path) -> int:
    """Print every problem, and return 1 if one of them is an error."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    report = validate_bundle(tool, files)
    for issue in report.issues:
        print(issue)
    print(f"{len(files)} files, {len(report.errors)} errors, {len(report.warnings)} warnings")
    return 0 if report.ok else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", nargs="?", choices=TOOLS, default="prometheus")
    parser.add_argument("folder", nargs="?", type=Path, default=EXAMPLE)
    arguments = parser.parse_args()
    sys.exit(main(arguments.tool, arguments.folder))
