"""One row of the table."""

import dataclasses
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Measured:
    """`count` things took `seconds`; CPU seconds by process; seconds of one thing at the median and at 99 %."""

    what: str
    count: int
    seconds: float
    cpu: Mapping[str, float]
    p50: float | None = None
    p99: float | None = None

    @property
    def rate(self) -> float:
        """Things per second."""
        return self.count / self.seconds

    def row(self) -> list[str]:
        """As shown: rate, p50 and p99 in ms, CPU-ms per thing in all and by process."""
        each = {name: used * 1000 / self.count for name, used in self.cpu.items()}
        parts = "  ".join(f"{name} {ms:.2f}" for name, ms in sorted(each.items(), key=lambda item: -item[1]))
        return [
            self.what,
            str(self.count),
            f"{self.rate:.1f}",
            _ms(self.p50),
            _ms(self.p99),
            f"{sum(each.values()):.2f}",
            parts,
        ]


HEAD = ("what", "count", "per second", "p50 ms", "p99 ms", "CPU-ms each", "CPU-ms by process")


def table(rows: Sequence[Measured]) -> str:
    """A plain table."""
    cells = [list(HEAD), *(row.row() for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f}"
