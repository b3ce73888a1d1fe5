"""Mixed work for a long time on a server that fails every twentieth request: see tests/faults/soak.py.

nox -s soak [-- --seconds 600 --seed 1]
"""

from __future__ import annotations

import argparse
import asyncio

from tests.faults.soak import soak

GROWTH = 0.02
"""The most that memory may grow from the second quarter of the time to the last."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    report = asyncio.run(soak(arguments.seconds, arguments.seed))
    first, last = report.blocks[0], report.blocks[-1]
    print(f"{report.calls} calls, {report.failed} failed, {report.cancelled} cancelled; {report.faults} faults")
    print(f"memory: {first} blocks first, {last} last, {report.growth:+.1%} from the second quarter to the last")
    print(*report.wrong, *report.left, sep="\n")
    if report.wrong or report.left or report.growth > GROWTH:
        raise SystemExit("something was lost, left, or grew")
    print("nothing lost, nothing left, no growth; the exporter's figures are the driver's")


if __name__ == "__main__":
    main()
