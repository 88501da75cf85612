"""What is counted over the rows of one file: relation keys, repeated rows, equipment numbers, totals of form 7.

Each tally takes the picks of good rows a batch at a time. Row keys are remembered as 64-bit hashes (two different rows
of a file share one with a chance below 1e-9, and what comes of it is a warning), everything else by person or service.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from careplan.checks.about import FileFacts, UnitFacts, entry_of, first_row, row_count, say
from careplan.checks.row import EQUIPMENT, GRAND_TOTAL, NO_DATE, TOTALS, is_total
from careplan.findings import FINDINGS_MAX
from careplan.picks import ISSUE_TEXTS, SUPPORT_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from careplan.findings import FindingLog

    Rows = Sequence[tuple[str, ...]]
    RowKey = Callable[[tuple[str, ...]], Hashable]

_SERVICE_CODE = "service_code"
_GAP_MATTERS = "UPPLAN"
_DAYS = ("plan_date", "consulted_on")


class Tally(Protocol):
    """Something counted over the rows of a file."""

    needs: frozenset[str]
    """The picks it looks at: a row where one of them could not be read is not counted."""

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Count these rows; ``numbers`` are their row numbers."""

    def finish(self) -> None:
        """Say what the whole file lacks, when all its rows and the relations to other files are known."""


class Keys:
    """The relation keys of a file: by person, and by the day too where the relation runs over a day."""

    def __init__(self, facts: FileFacts, unit: UnitFacts, places: Mapping[str, int]) -> None:
        """Choose the day by the unit and the kind of the file."""
        self._facts = facts
        self._person = places["person"]
        self._day = None if unit.by_month else next((places[day] for day in _DAYS if day in places), None)
        self.needs = frozenset({"person"} if self._day is None else {"person", *_DAYS} & set(places))

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Count rows per key and remember the first."""
        person, day = self._person, self._day
        if day is None:
            keys = [row[person] for row in rows]
        else:
            dated = [(row, number) for row, number in zip(rows, numbers, strict=True) if row[day] != NO_DATE]
            self._facts.keyless += len(rows) - len(dated)
            keys, numbers = [f"{row[person]},{row[day]}" for row, _ in dated], [number for _, number in dated]
        known = self._facts.keys
        firsts = dict(zip(reversed(keys), reversed(numbers), strict=True))
        for key, count in Counter(keys).items():
            before = known.get(key)
            if before is None:
                known[key] = entry_of(firsts[key], count)
            else:
                known[key] = entry_of(first_row(before), row_count(before) + count)

    def finish(self) -> None:
        """Nothing: the relations are judged over the files of the unit."""


class Served:
    """The persons who have a row of the recipient's office number."""

    def __init__(self, facts: FileFacts, unit: UnitFacts, places: Mapping[str, int]) -> None:
        """Take the recipient from the unit."""
        self._facts = facts
        self._recipient = unit.recipient
        self._person = places["person"]
        self._provider = places["provider_office"]
        self.needs = frozenset({"person", "provider_office"})

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Remember the persons of rows that name the recipient."""
        del numbers
        person, provider, recipient = self._person, self._provider, self._recipient
        self._facts.served.update({row[person] for row in rows if row[provider] == recipient})

    def finish(self) -> None:
        """Nothing: persons are judged over the files of the unit."""


class Pictures:
    """The pictures of the family that rows of UPKIHON name: one row each."""

    def __init__(self, facts: FileFacts, log: FindingLog, places: Mapping[str, int], repeats: Repeats) -> None:
        """Rows that are repeated as a whole are left to ``repeats``."""
        self.needs = frozenset({"family_image_file"})
        self._facts = facts
        self._log = log
        self._repeats = repeats
        self._place = places["family_image_file"]

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Remember the names; a picture that a row before has named is said."""
        for row, number in zip(rows, numbers, strict=True):
            if number in self._repeats.repeated:
                continue
            picture = row[self._place].casefold()
            if picture and picture in self._facts.pictures:
                say(self._log, self._facts, "TDK-PICTURE-TWICE", "warning", number, "family_image_file")
            elif picture:
                self._facts.pictures.add(picture)

    def finish(self) -> None:
        """Nothing: pictures that no row names are judged over the message."""


class Repeats:
    """Rows whose key was there before: a warning each, for row keys are inferred (README, Uncertain 12)."""

    def __init__(self, facts: FileFacts, log: FindingLog, places: Mapping[str, int], row_key: RowKey) -> None:
        """``row_key`` gives a row's key, or None for rows that may repeat."""
        self.needs = frozenset(places)
        self._facts = facts
        self._log = log
        self._row_key = row_key
        self._seen: set[int] = set()
        self.repeated: set[int] = set()
        """Numbers of the rows said to be repeated."""

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Compare with all rows before."""
        keys = list(map(self._row_key, rows))
        hashes = list(map(hash, keys))
        new = set(hashes)
        if len(new) == len(hashes) and self._seen.isdisjoint(new):
            self._seen |= new
            return
        for key, hashed, number in zip(keys, hashes, numbers, strict=True):
            if key is None:
                continue
            if hashed in self._seen:
                self.repeated.add(number)
                say(self._log, self._facts, "TDK-REPEATED", "warning", number)
            self._seen.add(hashed)

    def finish(self) -> None:
        """Nothing more."""


class UpperTexts:
    """Texts of an issue or a support plan of UPYOBO_SUB stand in its first row only (column rules): a warning."""

    _LEVELS = (("issue_no", ISSUE_TEXTS), ("support_no", SUPPORT_TEXTS))

    def __init__(self, facts: FileFacts, log: FindingLog, places: Mapping[str, int], repeats: Repeats) -> None:
        """The rows may come in any order; rows that are repeated as a whole are left to ``repeats``."""
        self.needs = frozenset(places)
        self._facts = facts
        self._log = log
        self._places = places
        self._repeats = repeats
        self._first: dict[tuple[str, ...], int] = {}
        """Person, day and numbers → the first row."""
        self._filled: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        """The same → the first two rows with a text of that level, and the column."""

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Note the first row of each level and the first rows with texts."""
        for row, number in zip(rows, numbers, strict=True):
            if number in self._repeats.repeated:
                continue
            key: tuple[str, ...] = (row[self._places["person"]], row[self._places["plan_date"]])
            for numbered, texts in self._LEVELS:
                if not row[self._places[numbered]]:
                    break
                key = (*key, row[self._places[numbered]])
                self._first[key] = min(number, self._first.get(key, number))
                column = next((text for text in texts if row[self._places[text]]), None)
                if column is not None:
                    self._filled[key] = sorted([*self._filled.get(key, ()), (number, column)])[:2]

    def finish(self) -> None:
        """Say the first text that is repeated, once: a program that repeats them does so everywhere."""
        later = [each for key, found in self._filled.items() for each in found if each[0] != self._first[key]]
        if later and not self._facts.left_out:
            say(self._log, self._facts, "TDK-UPPER-TEXT", "warning", *min(later))


class Details:
    """detail_code numbers, from 1, the rows of equipment that share service code and units (column rules)."""

    def __init__(self, facts: FileFacts, log: FindingLog, places: Mapping[str, int], repeats: Repeats) -> None:
        """Rows that are repeated as a whole are left to ``repeats``."""
        self.needs = frozenset(places)
        self._facts = facts
        self._log = log
        self._places = places
        self._repeats = repeats
        self._groups: dict[tuple[str, ...], list[tuple[int, str, str]]] = {}

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Group the rows of equipment by person, provider, service code and units."""
        at = self._places
        service, detail, day = at["service"], at["detail_code"], at["service_date"]
        for row, number in zip(rows, numbers, strict=True):
            if row[service][:2] in EQUIPMENT and number not in self._repeats.repeated:
                key = (row[at["person"]], row[at["provider_office"]], row[at["satellite_no"]], row[service][:6])
                group = self._groups.setdefault((*key, row[at["units"]]), [])
                group.append((number, row[detail], row[day]))

    def finish(self) -> None:
        """Say rows that lack their number, and numbers that do not run from 1: once for a person."""
        if self._facts.left_out or self._facts.explained:
            return
        said: set[str] = set()
        for (person, *_), group in self._groups.items():
            if person not in said and (self._lacks_number(group) or self._runs_wrong(group)):
                said.add(person)

    def _lacks_number(self, group: list[tuple[int, str, str]]) -> bool:
        days = Counter(day for _, _, day in group)
        for number, detail, day in group:
            if not detail and days[day] > 1:
                say(self._log, self._facts, "TDK-DETAIL-NUMBER", "warning", number, "detail_code")
                return True
        return False

    def _runs_wrong(self, group: list[tuple[int, str, str]]) -> bool:
        """The numbers of a plan run from 1 and stand only where several rows share code and units.

        A provider's results may lack a numbered item that was not used, so there only the number itself is judged.
        """
        found = {int(detail) for _, detail, _ in group if detail}
        wanted = {number for number in found if number > 0}
        if self._facts.name.kind == _GAP_MATTERS:
            alone = len(group) == 1 and not self._repeats.repeated
            wanted = set() if alone else set(range(1, len(found) + 1))
        for number, detail, _ in group:
            if detail and int(detail) not in wanted:
                say(self._log, self._facts, "TDK-DETAIL-NUMBER", "warning", number, "detail_code")
                return True
        return False


class Totals:
    """The total rows of form 7: one 999999 row a person, and AAAA where a type has several rows.

    Kept flat, by strings and small numbers: a hostile file may hold a new person in every row.
    """

    def __init__(self, facts: FileFacts, log: FindingLog, places: Mapping[str, int], repeats: Repeats) -> None:
        """Rows that are repeated as a whole are left to ``repeats``."""
        self.needs = frozenset(places)
        self._facts = facts
        self._log = log
        self._places = places
        self._repeats = repeats
        self._last: dict[str, int] = {}
        """Person → the last row."""
        self._last_of_type: dict[str, int] = {}
        """Person and service type → the last row that is no total."""
        self._several: set[str] = set()
        """Person and service type with several such rows."""
        self._limited: set[str] = set()
        """The same with a row that counts against the category limit, and "+" behind it with several of them."""
        self._totals: set[str] = set()
        """Person and code of the total rows that are there."""
        self._twice: list[int] = []
        """Rows with a second grand total, the first of them."""

    def add(self, rows: Rows, numbers: Sequence[int]) -> None:
        """Note the rows of each person and type."""
        at_person, at_service, at_managed = (self._places[name] for name in ("person", "service", "managed_units"))
        for row, number in zip(rows, numbers, strict=True):
            if number in self._repeats.repeated:
                continue
            person, code = row[at_person], row[at_service][:6]
            self._last[person] = number
            if is_total(code):
                self._add_total(person, code, number)
                continue
            key = person + code[:2]
            if key in self._last_of_type:
                self._several.add(key)
            self._last_of_type[key] = number
            if row[at_managed]:
                self._limited.add(key + "+" if key in self._limited else key)

    def _add_total(self, person: str, code: str, number: int) -> None:
        if code == GRAND_TOTAL and person + code in self._totals and len(self._twice) < FINDINGS_MAX:
            self._twice.append(number)
        self._totals.add(person + code)

    def finish(self) -> None:
        """Say the total rows that are missing or too many, unless a row that could not be read explains it."""
        if self._facts.left_out or self._facts.explained:
            return
        severity = self._facts.layout.column(_SERVICE_CODE).severity("rule")
        for number in self._twice:
            say(self._log, self._facts, "TDK-GRAND-TOTAL-TWICE", severity, number, _SERVICE_CODE)
        for person, number in self._last.items():
            if person + GRAND_TOTAL not in self._totals:
                say(self._log, self._facts, "TDK-GRAND-TOTAL", severity, number, _SERVICE_CODE)
        said: set[str] = set()
        for key in sorted(self._several, key=self._last_of_type.__getitem__):
            number, person = self._last_of_type[key], key[:-2]
            if person in said:
                continue
            said.add(person)
            if self._totals.isdisjoint(key + total for total in TOTALS):
                say(self._log, self._facts, "TDK-SUBTOTAL", severity, number, _SERVICE_CODE)
            elif key + "+" in self._limited and key + TOTALS[0] not in self._totals:
                say(self._log, self._facts, "TDK-SUBTOTAL", "warning", number, _SERVICE_CODE)
            else:
                said.discard(person)


def row_key(kind: str, places: Mapping[str, int]) -> RowKey:
    """How rows of a kind are told apart (``row_key`` of files.csv); None from it for a row that may repeat."""
    if kind == "UPSIKYU":
        return _form_7_key(places)
    if kind in {"UP2KYO", "UPYOBO_SUB"}:
        numbers = ("goal_no", "content_no") if kind == "UP2KYO" else ("support_no", "service_no")
        return _numbered_key([places[name] for name in ("person", "plan_date", "issue_no", *numbers)])
    named = {
        "UPHOSOKU": ("person", "plan_date", "target_month"),
        "UP1KYO": ("person", "plan_date"),
        "UPPLAN": _FORM_6_KEY,
        "UPJSK": _FORM_6_KEY,
        "UPKIHON": ("person", "consulted_on"),
    }.get(kind, tuple(places))
    indices = [places[name] for name in named]
    return lambda row: tuple([row[at] for at in indices])


_FORM_6_KEY = (
    "person",
    "service_date",
    "service",
    "times_of_day",
    "detail_code",
    "provider_office",
    "satellite_no",
)


def _form_7_key(places: Mapping[str, int]) -> RowKey:
    service, rest = places["service"], [places[name] for name in ("person", "provider_office", "satellite_no")]

    def key(row: tuple[str, ...]) -> Hashable:
        code = row[service][:6]
        may_repeat = code == GRAND_TOTAL or (code[:2] in EQUIPMENT and not is_total(code))
        return None if may_repeat else (code, *[row[at] for at in rest])

    return key


def _numbered_key(indices: Iterable[int]) -> RowKey:
    indices = tuple(indices)

    def key(row: tuple[str, ...]) -> Hashable:
        found = tuple([row[at] for at in indices])
        return found if all(found) else None

    return key


def tallies_of(facts: FileFacts, unit: UnitFacts, log: FindingLog, places: Mapping[str, int]) -> list[Tally]:
    """The tallies that a kind of file needs."""
    kind = facts.name.kind
    repeats = Repeats(facts, log, places, row_key(kind, places))
    tallies: list[Tally] = [repeats]
    if not kind.startswith("DLT") and kind != "UPJSK":
        tallies.append(Keys(facts, unit, places))
    if kind in {"UP2KYO", "UPPLAN", "UPSIKYU"}:
        tallies.append(Served(facts, unit, places))
    if kind in {"UPPLAN", "UPJSK"}:
        tallies.append(Details(facts, log, places, repeats))
    if kind == "UPKIHON":
        tallies.append(Pictures(facts, log, places, repeats))
    if kind == "UPYOBO_SUB":
        tallies.append(UpperTexts(facts, log, places, repeats))
    if kind == "UPSIKYU":
        tallies.append(Totals(facts, log, places, repeats))
    return tallies
