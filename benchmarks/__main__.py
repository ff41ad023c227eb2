"""Run all benchmarks, print their table, and exit with 1 if a requirement is missed: ``python -m benchmarks``."""

from __future__ import annotations

import sys

from benchmarks import as_text, probe, training


def main() -> int:
    """Measure and print; give the exit status."""
    rows = [*training.rows(), *probe.rows()]
    print(as_text(rows))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
