"""S-77: a notice as an operator writes it. No HTML."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from careplan import SERVICE_TYPES
from services.portal.console import lacking, word_of
from services.portal.forms import Form
from services.portal.wording import Sentence, say
from todoke.client.ops_shapes import Audience, NewNotice, Word
from todoke.relay.clock import JAPAN

TITLE_CHARACTERS_MAX = 100
TEXT_CHARACTERS_MAX = 10_000

YEARS = range(2001, 2199)
"""Years whose every moment, in Japan or elsewhere, the API takes."""


@dataclass(frozen=True, slots=True)
class Announcing:
    """A filled-in S-77. `at` is what stands in the field of 掲載日時, Japan time; empty means at once.

    `key` is what the page that asks whether it is right has drawn for it; empty on the form.
    """

    title: str
    text: str
    at: str
    important: bool
    audience: str
    service_types: tuple[str, ...]
    prefectures: tuple[str, ...]
    word: Word
    key: str

    @property
    def published_at(self) -> datetime | None:
        """The moment it is read from, None for at once. Raises `ValueError` when the field holds none."""
        return datetime.fromisoformat(self.at).replace(tzinfo=JAPAN) if self.at else None

    @property
    def values(self) -> tuple[str, ...]:
        """Codes of service types, or names of prefectures, that it is for."""
        if self.audience == "service_types":
            return self.service_types
        return self.prefectures if self.audience == "prefectures" else ()

    def notice(self) -> NewNotice:
        """What the API is told. Raises `ValueError` where `mistakes` has found one."""
        kind = {"service_types": "service_types", "prefectures": "prefectures"}.get(self.audience, "all")
        return NewNotice(
            id=UUID(self.key) if self.key else None,
            title=self.title,
            text=self.text,
            published_at=self.published_at,
            important=self.important,
            audience=Audience.model_validate({"kind": kind, "values": self.values}),
        )

    def mistakes(self) -> list[tuple[str, Sentence]]:
        """What can be seen without asking: (field, sentence), in the order of the page."""
        found = (
            ("title", not self.title, "E-130"),
            ("text", not self.text, "E-131"),
            ("at", not self._has_moment(), "E-132"),
            ("audience", self.audience != "all" and not self.values, "E-133"),
        )
        wrong = [(where, say(number)) for where, is_wrong, number in found if is_wrong]
        lack = lacking(self.word)
        return [*wrong, ("word-reason", lack)] if lack is not None else wrong

    def _has_moment(self) -> bool:
        try:
            return self.published_at is None or self.published_at.year in YEARS
        except ValueError:
            return False


def announcing(form: Form) -> Announcing:
    """The form as it was filled in."""
    audience = form.text("audience")
    return Announcing(
        title=form.text("title").strip(),
        text=form.text("text").strip(),
        at=unicodedata.normalize("NFKC", form.text("at")).strip(),
        important=form.text("important") == "yes",
        audience=audience if audience in ("service_types", "prefectures") else "all",
        service_types=tuple(code for code in form.all("service_types") if code in SERVICE_TYPES),
        prefectures=tuple(form.all("prefectures")),
        word=word_of(form),
        key=_key(form.text("_key")),
    )


def _key(sent: str) -> str:
    """A key that a page has drawn; none for anything else."""
    try:
        return UUID(sent).hex
    except ValueError:
        return ""
