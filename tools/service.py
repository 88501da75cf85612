"""`make service NAME=billing` writes the first files of a service; docs/adding-a-service.md says what comes next."""

import re
import sys
from pathlib import Path

SERVICES = Path(__file__).parent.parent / "services"

_FILES = {
    "__init__.py": '"""Hears: nothing.\n\nSays: OperatorActed.\n\nOwns: nothing.\n"""\n',
    "app.py": '''"""The wiring of {name}."""

from todoke.events import OperatorActed
from todoke.relay.service import Runtime, Service


def build(runtime: Runtime) -> Service:
    """{title}: what it says, hears and serves."""
    runtime.log.debug("wired")
    return Service(name="{name}", says=(OperatorActed,))
''',
    "rules.py": '"""What {name} decides, as pure functions."""\n',
    "store.sql": "-- Every statement of {name}: `-- name: WHAT`, a sentence, the SQL.\n",
    "schema.sql": "",
    "schema/1001_pre_{name}.sql": "-- migrate:up\n-- migrate:down\n",
}


def main() -> None:
    """Write the files; refuse a name that is taken or cannot be a module's."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if not re.fullmatch(r"[a-z][a-z0-9]*", name):
        sys.exit("Say its name, a noun in small letters: make service NAME=billing")
    folder = SERVICES / name
    if folder.exists():
        sys.exit(f"There is a service {name} already.")
    for path, text in _FILES.items():
        file = folder / path.format(name=name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(name=name, title=name.capitalize()), encoding="utf-8")
        sys.stdout.write(f"services/{name}/{path.format(name=name)}\n")


if __name__ == "__main__":
    main()
