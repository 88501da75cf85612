"""`make bench`: prints one table. The peer runs in between, so that both see the same machine."""

import sys
import tempfile
from pathlib import Path

from bench import bulk, cycle, pages, peer
from bench.measured import Measured, table
from bench.meter import machine


def main() -> None:
    """Measure everything, or the parts named on the command line: cycle peer bulk pages."""
    parts = set(sys.argv[1:]) or {"cycle", "peer", "bulk", "pages"}
    where = machine()
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="todoke-bench-", ignore_cleanup_errors=True) as folder:
        try:
            if "cycle" in parts:
                rows += cycle.measure(Path(folder) / "cycle")
            if "peer" in parts:
                rows.append(peer.measure(Path(folder) / "peer"))
            if "bulk" in parts:
                rows += bulk.measure(Path(folder) / "bulk")
            if "pages" in parts:
                rows += pages.measure(Path(folder) / "pages")
        finally:  # what was measured before something failed is worth its minutes
            print(where)
            print(table(rows))


if __name__ == "__main__":
    main()
