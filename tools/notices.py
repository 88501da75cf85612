"""THIRD-PARTY-NOTICES.md: whose work Todoke stands on, and under which licences.

It lists what `requirements/run.txt` installs on Linux, what the portal's pages carry, and Kafka's jars: what somebody
who runs Todoke has on the disk.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from todoke.engines.jars import listed

ROOT = Path(__file__).parent.parent
NOTICES = ROOT / "THIRD-PARTY-NOTICES.md"

_HEAD = """\
# Third-party notices

Todoke itself is under the Apache License 2.0 (LICENSE). Installing it also brings the packages below, each under its
own licence, whose text comes with the package. This page is written by `make notices` and compared by a test.
"""

_LINUX = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
}

_JAR_LICENCES = {
    "com.github.luben": "BSD-2-Clause",
    "com.google.re2j": "BSD-3-Clause",
    "com.yammer.metrics": "Apache-2.0",
    "net.sf.jopt-simple": "MIT",
    "net.sourceforge.argparse4j": "MIT",
    "org.hdrhistogram": "CC0-1.0 OR BSD-2-Clause",
    "org.pcollections": "MIT",
    "org.slf4j": "MIT",
}
"""Groups of jars that are not under Apache-2.0, or whose files do not say it themselves."""

# What packages write where a SPDX name is meant; only whole statements, never a part of "A OR B".
_SHORT_NAMES = [
    (r"(The )?MIT( License)?( \(MIT\))?", "MIT"),
    (r"Apache(-| )2(\.0)?|(The )?Apache( Software)? License,?( Version)?( 2(\.0)?)?", "Apache-2.0"),
    (r"(The )?(New )?BSD[ -]3[ -]Clause( License)?|3-Clause BSD License", "BSD-3-Clause"),
    (r"BSD License", "BSD"),
    (r"Mozilla Public License 2\.0 \(MPL 2\.0\)", "MPL-2.0"),
    (r"Python Software Foundation License", "PSF-2.0"),
    (r"GNU General Public License v2 \(GPLv2\)", "GPL-2.0-only WITH Classpath-exception-2.0"),
]


def locked() -> list[str]:
    """Names of the packages that run.txt installs on Linux."""
    names: list[str] = []
    for line in (ROOT / "requirements" / "run.txt").read_text().splitlines():
        if found := re.match(r"([A-Za-z0-9_.-]+)==[^ ;\\]+(?: ; ([^\\]+))?", line):
            marker = (found[2] or "").strip()
            if not marker or Marker(marker).evaluate(_LINUX):
                names.append(canonicalize_name(found[1]))
    return names


def page() -> str:
    """The whole page."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--with-system"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - a fixed command
    licences: dict[str, tuple[str, str]] = {
        canonicalize_name(each["Name"]): (each["Name"], each["License"]) for each in json.loads(said)
    }
    rows = [_HEAD, "## Python packages", "", "| package | licence |", "| --- | --- |"]
    rows += [f"| {licences[name][0]} | {_short(licences[name][1])} |" for name in sorted(locked())]
    rows += ["", "## In the portal's pages", "", "| package | licence |", "| --- | --- |", *_npm()]
    rows += ["", "## Java libraries (Apache Kafka and what it needs)", "", "| library | licence |", "| --- | --- |"]
    rows += [f"| {jar.group}:{jar.artifact} | {_JAR_LICENCES.get(jar.group, 'Apache-2.0')} |" for jar in listed()]
    return "\n".join(rows) + "\n"


def _npm() -> list[str]:
    """The rows of the npm packages that reach a browser: those of the lock file that are not for tests only."""
    lock = json.loads((ROOT / "services/portal/static_src/package-lock.json").read_text(encoding="utf-8"))
    return [
        f"| {path.removeprefix('node_modules/')} | {package['license']} |"
        for path, package in sorted(lock["packages"].items())
        if path and not package.get("dev")
    ]


def _short(licence: str) -> str:
    parts = []
    for part in licence.splitlines()[0].split("; "):
        short = next((short for pattern, short in _SHORT_NAMES if re.fullmatch(pattern, part)), part)
        parts.append(short.replace("|", "/"))
    return "; ".join(dict.fromkeys(parts))


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the file instead of printing it")
    if parser.parse_args().write:
        NOTICES.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()
