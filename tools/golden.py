"""`make golden` writes the golden file of each event version that has none yet, from its example; it changes none."""

import sys
from pathlib import Path

from todoke.events import CATALOGUE, body_of
from todoke.events.examples import EXAMPLES

FOLDER = Path(__file__).parent.parent / "tests" / "golden" / "events"


def main() -> None:
    """Write the missing files and say their names."""
    for name, event in sorted(CATALOGUE.items()):
        file = FOLDER / f"{name}.v{event.VERSION}.json"
        if not file.exists():
            file.write_bytes(body_of(EXAMPLES[name]) + b"\n")
            sys.stdout.write(f"{file.name}\n")


if __name__ == "__main__":
    main()
