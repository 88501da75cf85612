"""From templates to pages: Jinja2 with escaping always on, and the built files by their names."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.portal import console, shown, told, usage, wording

FOLDER = Path(str(resources.files("services.portal"))) / "static"


class NotBuilt(Exception):  # noqa: N818 (named for what is missing)
    """The pages' styles and scripts are missing: `make setup` builds them."""


class Assets:
    """The built files: their names with hashes, and where they lie."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}

    def path(self, name: str) -> str:
        """The address of a file: `/static/todoke.5f3a….css`. Raises `NotBuilt`."""
        if not self._names:
            self._load()
        return f"/static/{self._names[name]}"

    def file(self, hashed: str) -> Path | None:
        """Where a file with a hash in its name lies; None for any other name."""
        if not self._names:
            self._load()
        return self._folder / hashed if hashed in self._names.values() else None

    def _load(self) -> None:
        try:
            self._names = json.loads((self._folder / "manifest.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotBuilt("services/portal/static is empty: run make setup") from None


class Pages:
    """The templates."""

    def __init__(self, assets: Assets, values: Mapping[str, Any]) -> None:
        self._environment = Environment(
            loader=PackageLoader("services.portal"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update({**shown.FILTERS, **told.FILTERS, **usage.FILTERS, **console.FILTERS})
        self._environment.globals.update(static=assets.path, say=wording.say, **values)

    def page(self, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """A whole page."""
        return HTMLResponse(self._environment.get_template(template).render(values), status_code=status)

    def fragment(self, template: str, block: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """One block of a page's template, for htmx: the same words as on the page."""
        found = self._environment.get_template(template)
        context = found.new_context(dict(values))
        return HTMLResponse("".join(found.blocks[block](context)), status_code=status)
