"""Sentences that people read: from `messages_ja.csv`, or as the API says them. No sentence stands in code."""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from todoke.client import ApiError
from todoke.relay.problem import Problem, wordings


@dataclass(frozen=True, slots=True)
class Sentence:
    """What happened, what to do, and the number of both in the tables (None for what has none)."""

    number: str | None
    what: str
    todo: str

    def __str__(self) -> str:
        """All of it in one line, the number last."""
        return f"{self.what}{self.todo}" + (f"（{self.number}）" if self.number else "")


@functools.cache
def sentences() -> Mapping[str, Sentence]:
    """Every sentence of the portal's own by its number."""
    table = resources.files("services.portal").joinpath("messages_ja.csv").read_text(encoding="utf-8")
    return {
        row["number"]: Sentence(row["number"], row["what"], row["todo"]) for row in csv.DictReader(table.splitlines())
    }


def say(number: str, **fill: str | int) -> Sentence:
    """A sentence of the portal's own, filled in; only errors (E-…) show their number."""
    found = sentences()[number]
    return Sentence(
        number if number.startswith("E-") else None, found.what.format_map(fill), found.todo.format_map(fill)
    )


def of_refusal(refused: ApiError) -> Sentence:
    """What the API says of a refusal, which is Japanese and meant for people."""
    return Sentence(refused.number, refused.title, refused.detail)


def of_code(code: str, **fill: str | int) -> Sentence:
    """A sentence of the kit's table by its code (`TDK-…`)."""
    found = wordings()[code]
    return Sentence(found.number, found.title.format_map(fill), found.detail.format_map(fill))


def of_problem(problem: Problem) -> Sentence:
    """A refusal of the kit's own in this very process."""
    body = problem.body()
    return Sentence(body["number"], body["title"], body["detail"])
