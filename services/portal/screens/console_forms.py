"""Forms of the console that show once more what was filled in before it is carried out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Generic, Protocol, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from services.portal.console import Operator
from services.portal.forms import Form
from services.portal.portal import Portal
from services.portal.wording import Sentence


class Filled(Protocol):
    """A filled-in form."""

    def mistakes(self) -> list[tuple[str, Sentence]]:
        """What can be seen without asking: (field, sentence), in the order of the page."""
        ...


F = TypeVar("F", bound=Filled)


@dataclass(frozen=True)
class ConsoleForm(Generic[F]):
    """A form at `place`, carried out by a POST to `carried_out`; its template is given `filled` and `values`.

    `blank` is the form as it opens, `read` as it was filled in.
    """

    portal: Portal
    place: str
    carried_out: str
    template: str
    screen: str
    title: str
    here: str
    blank: Callable[[], F]
    read: Callable[[Form], F]
    values: Callable[[Operator], Awaitable[Mapping[str, object]]]

    def add(self, screens: APIRouter) -> None:
        """The page of the form, and the one that asks whether all is right."""
        self.portal.forms.update({self.place: self.place, self.carried_out: self.place})

        @screens.get(self.place)
        async def form(request: Request, operator: Annotated[Operator, Depends(self.portal.operator())]) -> Response:
            late = await self.portal.late_form(operator, request)
            if late is None:
                return await self.page(operator, self.blank(), typed=False)
            return await self.page(operator, self.read(late), late=True)

        @screens.post(self.place)
        async def confirm(request: Request, operator: Annotated[Operator, Depends(self.portal.operator())]) -> Response:
            posted = await self.portal.form(request, "operator")
            filled = self.read(posted)
            if posted.text("back"):
                return await self.page(operator, filled)
            mistakes = filled.mistakes()
            return await self.page(operator, filled, mistakes, sure=not mistakes)

    async def page(
        self,
        operator: Operator,
        filled: F,
        mistakes: list[tuple[str, Sentence]] | None = None,
        *,
        sure: bool = False,
        late: bool = False,
        typed: bool = True,
    ) -> Response:
        """The form with its mistakes; once it is `sure`, what will be carried out.

        `late`: it came after a session had ended, and is shown again. `typed`: somebody filled it in.
        """
        return self.portal.console_page(
            operator,
            self.template,
            screen=self.screen,
            title=self.title,
            here=self.here,
            status=422 if mistakes else 200,
            filled=filled,
            mistakes=mistakes or [],
            sure=sure,
            late=late,
            typed=typed,
            **await self.values(operator),
        )
