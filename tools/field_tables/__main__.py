"""Compare a tool's table of fields with its sources, and write it anew.

    python -m tools.field_tables prometheus ../prometheus ../common [--release 3.15 --write]

Give it the checkouts that hold the tool's types: the tool's own, and those of libraries that it does not vendor. For
Grafana, whose settings are an INI file, the checkout's `conf/defaults.ini` is read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tools.field_tables.go_source import read_checkout
from tools.field_tables.ini_source import read_defaults
from tools.field_tables.tables import Changes, Tables, compare, dump, kinds, merge, stubs

DATA = Path(__file__).parents[2] / "apm_s3" / "validators" / "_data"


def main(arguments: list[str] | None = None) -> int:
    """Print what has changed; with `--write`, write the table and print the entries of fields that came or went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=("alertmanager", "grafana", "loki", "prometheus"))
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--release", type=_release, help="such as 3.15; needed to write")
    parser.add_argument("--write", action="store_true", help="write the table, and print what came or went")
    parser.add_argument("--data", type=Path, default=DATA, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.write and given.release is None and given.tool != "grafana":
        parser.error("--write needs --release")
    if given.tool == "grafana":
        return _grafana(given)
    file = given.data / f"{given.tool}.json"
    present = json.loads(file.read_text())
    tables = Tables(package for root in given.checkouts for package in read_checkout(root))
    made = tables.make(present["roots"].values())
    changes = compare(kinds(present["types"]), made)
    sys.stdout.write(f"{changes}\n")
    for name, entries in tables.defaults(made).items():
        sys.stdout.write(f"defaults of {name}: {json.dumps(entries)}\n")
    if given.write:
        added = {"types": stubs(changes, present["types"], given.release)}
        sys.stdout.write(f"\nWritten, for rules to be added:\n{dump(added)}")
        file.write_text(dump({**present, "types": merge(present["types"], made, given.release)}))
    return 0


def _grafana(given: Any) -> int:
    file = given.data / "grafana_ini.json"
    present = json.loads(file.read_text())
    made = read_defaults(given.checkouts[0] / "conf" / "defaults.ini")
    as_types: list[dict[str, dict[str, str]]] = [
        {section: dict.fromkeys(keys, "key") for section, keys in table.items()} for table in (present, made)
    ]
    changes: Changes = compare(*as_types)
    sys.stdout.write(f"{changes}\n")
    if given.write:
        both = {section: sorted({*present.get(section, []), *made.get(section, [])}) for section in {*present, *made}}
        file.write_text(json.dumps(dict(sorted(both.items())), indent=1) + "\n")
    return 0


def _release(text: str) -> str:
    major, minor = text.lstrip("v").split(".")[:2]
    return f"{int(major)}.{int(minor)}"


if __name__ == "__main__":
    sys.exit(main())
