"""A gate for changes in a repository: check the files of a folder offline, and say where each problem is.

Needs no S3. Give it a tool and a folder; without, it checks the example configuration of Prometheus.
"""

import sys
from pathlib import Path

from apm_s3.validators import validate_bundle


def main(tool: str, folder: Path) -> int:
    """Print every problem; 1 if one of them is an error."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    report = validate_bundle(tool, files)
    for issue in report.issues:
        print(issue)
    print(f"{len(files)} files, {len(report.errors)} errors, {len(report.warnings)} warnings")
    return 0 if report.ok else 1


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.exit(main(sys.argv[1], Path(sys.argv[2])))
    sys.exit(main("prometheus", Path(__file__).parent / "configs" / "prometheus"))
