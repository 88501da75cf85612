"""`/static`: styles, scripts and fonts under names that change with their content."""

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from services.portal.portal import Portal
from services.portal.routes import NotThere

FOR_EVER = "public, max-age=31536000, immutable"


def router(portal: Portal) -> APIRouter:
    """The built files."""
    screens = portal.router()

    @screens.get("/static/{name}")
    async def static_file(name: str) -> Response:
        file = portal.assets.file(name)
        if file is None:
            raise NotThere
        return FileResponse(file, headers={"Cache-Control": FOR_EVER})

    return screens
