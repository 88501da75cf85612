"""The rules between cells of one row, and between a row and the name of its file.

A rule is a pure function of a few picks. Rows of a file repeat the same few values, so each rule is asked once per
distinct combination, not once per row (``scan``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from careplan.kinds import NO_MONTH, SERVICE_TYPES, is_known, is_linkable
from careplan.names import parse_name
from careplan.numbers import days_in_month

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from careplan.checks.about import FileFacts, UnitFacts

NO_DATE: Final = "00000000"
NO_TIME: Final = "9999"
MIDNIGHT: Final = "0000"
TOTAL_OFFICE: Final = "9999999999"
GRAND_TOTAL: Final = "999999"
TOTALS: Final = ("AAAA", "EEEE", "ZZZZ")
EQUIPMENT: Final = ("17", "67")

_UNSETTLING = {"TDK-VALUE", "TDK-NOT-LINKABLE", "TDK-TOTAL-ROW", "TDK-DETAIL-CODE", "TDK-NEEDED"}
_UNSETTLED = {"service_code", "detail_code", "provider_office", "units"}

_OTHER_REASON = "3"
_OTHER_CONTACT = "03"
_AWAY_FROM_HOME = "02"
_NOT_INSURED = "N"
_SHORT_STAY = "22"
_SHORT_STAY_WRITTEN_AS_22 = ("23", "2A")
_SHORT_STAY_PERHAPS_22 = ("25", "26", "2B")
_SLOT_CELLS = 4
_FORM_3_KINDS = (
    ("service_content", "weekday", "service_start", "service_end"),
    ("daily_activity", "activity_start", "activity_end"),
    ("other_service",),
)


class Wrong(NamedTuple):
    """A rule that a row breaks. ``cause``, when given, is said once in a unit however many rows show it."""

    code: str
    column: str | None
    severity: Literal["error", "warning", "rule"]
    """``rule``: as sure as the rule cell of the column."""
    cause: tuple[str, ...] | None = None

    @property
    def unsettles(self) -> bool:
        """Whether it is open what the row is, so that nothing may be said to be missing beside it."""
        return self.code in _UNSETTLING and self.column in _UNSETTLED


def is_total(service_code: str) -> bool:
    """Whether a service code of form 7 marks a total row."""
    return service_code == GRAND_TOTAL or service_code[2:] in TOTALS


# --- months and office numbers against the file name ------------------------------------------------------------------


def _month(facts: FileFacts, _: UnitFacts, month: str) -> Iterator[Wrong]:
    if facts.month_holds and month != facts.name.target_month:
        yield Wrong("TDK-NAME-CONTENT", "target_month", "error", ("month", month))


def _form_6_month(facts: FileFacts, unit: UnitFacts, month_and_office: str, day: str) -> Iterator[Wrong]:
    month = month_and_office[:6]
    wrong = list(_month(facts, unit, month))
    yield from wrong
    if not wrong and day[:6] != month:
        yield Wrong("TDK-MONTH", "service_date", "error")


def _supplement_month(facts: FileFacts, _: UnitFacts, plan_date: str, month: str) -> Iterator[Wrong]:
    if facts.month_holds and month != facts.name.target_month:
        yield Wrong("TDK-NAME-CONTENT", "target_month", "error", ("month", month))
    elif (plan_date == NO_DATE) == (month == NO_MONTH):
        yield Wrong("TDK-DATE-OR-MONTH", "plan_date", "error")


def _office(
    facts: FileFacts, unit: UnitFacts, column: str, number: str, wanted: str, *, sure: bool = False
) -> Iterator[Wrong]:
    """The number of the office ``wanted``: the other party's is the wrong side, a third one's is not forbidden."""
    if facts.parties_hold and number and number != wanted:
        wrong_side = number in {unit.sender, unit.recipient}
        yield Wrong("TDK-NAME-CONTENT", column, "error" if sure and wrong_side else "warning", ("office", number))


def _plan_office(facts: FileFacts, unit: UnitFacts, month_and_office: str) -> Iterator[Wrong]:
    if not unit.preventive:
        wanted = unit.sender if facts.name.kind == "UPPLAN" else unit.recipient
        yield from _office(facts, unit, "plan_office", month_and_office[7:], wanted, sure=True)


def _form_1_office(facts: FileFacts, unit: UnitFacts, number: str) -> Iterator[Wrong]:
    if not unit.preventive:
        yield from _office(facts, unit, "plan_office", number, unit.sender, sure=True)


def _form_6_updater(facts: FileFacts, unit: UnitFacts, number: str) -> Iterator[Wrong]:
    if not unit.preventive or unit.sender_role == "service":
        yield from _office(facts, unit, "updater_office", number, unit.sender, sure=True)


def _updater(facts: FileFacts, unit: UnitFacts, number: str) -> Iterator[Wrong]:
    if not unit.preventive:
        yield from _office(facts, unit, "updater_office", number, unit.sender)


def _consent(facts: FileFacts, unit: UnitFacts, number: str) -> Iterator[Wrong]:
    if not unit.preventive:
        yield from _office(facts, unit, "consent_office", number, unit.sender)


def _own_services(facts: FileFacts, unit: UnitFacts, number: str) -> Iterator[Wrong]:
    if unit.sender_role == "service":
        yield from _office(facts, unit, "provider_office", number, unit.sender, sure=True)


# --- service types and codes ------------------------------------------------------------------------------------------


def _linkable(column: str, service_type: str) -> Iterator[Wrong]:
    if not is_linkable(service_type):
        yield Wrong("TDK-NOT-LINKABLE" if is_known(service_type) else "TDK-VALUE", column, "error")


def _of_the_sender(facts: FileFacts, unit: UnitFacts, column: str, service_type: str) -> Iterator[Wrong]:
    own = facts.name.sender_service
    if unit.sender_role == "service" and facts.parties_hold and own and service_type != own:
        yield Wrong("TDK-OTHER-TYPE", column, "warning", ("type", service_type))


def _form_6_service(facts: FileFacts, unit: UnitFacts, service: str, detail: str) -> Iterator[Wrong]:
    """Of what a wrong service code draws after it, only the gravest is said: no warning hides an error."""
    code = service[:6]
    equipment = code[:2] in EQUIPMENT
    if is_total(code):
        yield Wrong("TDK-VALUE", "service_code", "rule")
        return
    wrong = list(_linkable("service_code", code[:2]))
    if not wrong and detail and not equipment:
        wrong = [Wrong("TDK-DETAIL-CODE", "detail_code", "rule")]
    if not wrong:
        wrong = list(_equipment(facts, service, needed=equipment))
    if facts.name.kind == "UPJSK" and all(each.severity == "warning" for each in wrong):
        wrong = list(_of_the_sender(facts, unit, "service_code", code[:2])) or wrong
    yield from wrong


def _form_7_service(
    facts: FileFacts, _: UnitFacts, service: str, provider: str, units: str, discount: str
) -> Iterator[Wrong]:
    """A total row with several wrong cells is no total row: its code is what is wrong."""
    code = service[:6]
    wrong = [] if code == GRAND_TOTAL else list(_linkable("service_code", code[:2]))
    if not wrong and is_total(code):
        wrong = [Wrong("TDK-TOTAL-ROW", column, "rule") for column in _not_of_a_total(code, provider, units, discount)]
        if len(wrong) > 1:
            wrong = [Wrong("TDK-TOTAL-ROW", "service_code", "rule")]
    elif not wrong and provider == TOTAL_OFFICE:
        wrong = [Wrong("TDK-TOTAL-ROW", "provider_office", "rule")]
    yield from wrong or _equipment(facts, service, needed=code[:2] in EQUIPMENT and not is_total(code))


def _not_of_a_total(code: str, provider: str, units: str, discount: str) -> Iterator[str]:
    """The columns that hold what a total row may not hold."""
    rate, discounted = discount.split(",")
    if code == GRAND_TOTAL and provider != TOTAL_OFFICE:
        yield "provider_office"
    if units.strip("-0"):
        yield "units"
    if rate:
        yield "discount_rate"
    if discounted:
        yield "discounted_units"


def _equipment(facts: FileFacts, service: str, *, needed: bool) -> Iterator[Wrong]:
    if not facts.layout.has("tais_code"):
        return
    _, tais, notice = service.split(",")
    if needed and not tais and not notice:
        yield Wrong("TDK-EQUIPMENT-CODE", "tais_code", "rule")
    elif not needed and (tais or notice):
        yield Wrong("TDK-EQUIPMENT-ELSEWHERE", "tais_code" if tais else "equipment_notice_code", "warning")


def _fixed_office(_: FileFacts, __: UnitFacts, number: str) -> Iterator[Wrong]:
    """Always 9999999999 by its rule, but not required: an empty one is worth a word, once."""
    if not number:
        yield Wrong("TDK-NEEDED", "fixed_office_code", "warning", ("fixed_office_code",))


def _deleted_type(facts: FileFacts, unit: UnitFacts, service_type: str) -> Iterator[Wrong]:
    wrong = list(_linkable("service_type", service_type))
    yield from wrong or _of_the_sender(facts, unit, "service_type", service_type)


# --- times and days ---------------------------------------------------------------------------------------------------


def _times(first: str, last: str, start: str, end: str) -> Iterator[Wrong]:
    if NO_TIME in {start, end}:
        if start != end and start and end:
            yield Wrong("TDK-TIME-HALF", first if start == NO_TIME else last, "warning")
    elif start > end != MIDNIGHT:
        yield Wrong("TDK-TIME-ORDER", first, "warning")


def _form_6_times(_: FileFacts, __: UnitFacts, times_of_day: str) -> Iterator[Wrong]:
    start, end = times_of_day.split(",")
    yield from _times("start_time", "end_time", start, end)


def _units(_: FileFacts, __: UnitFacts, units: str) -> Iterator[Wrong]:
    """Whether the seventh mark 必須 of form 6 belongs to this column is inferred: an empty one is a warning only."""
    if not units:
        yield Wrong("TDK-NEEDED", "units", "warning")


def _prorated(_: FileFacts, __: UnitFacts, month_and_office: str, flags: str) -> Iterator[Wrong]:
    if "1" in flags[days_in_month(month_and_office[:6]) :]:
        yield Wrong("TDK-PRORATED-DAY", "prorated_days", "warning")


# --- the supplement's nine slots --------------------------------------------------------------------------------------


def _slots(_: FileFacts, __: UnitFacts, cells: str) -> Iterator[Wrong]:
    """Slots are filled from 1 upward; a slot of zeros without a type is as good as empty."""
    every = cells.split(",")
    gap = False
    for number, at in enumerate(range(0, len(every), _SLOT_CELLS), start=1):
        service_type, *units = every[at : at + _SLOT_CELLS]
        column = f"slot{number}_service_type"
        if service_type:
            order = [Wrong("TDK-SLOT-ORDER", column, "rule")] if gap else []
            yield from order or _slot_type(column, service_type)
            gap = False
        elif any(value.strip("-0") for value in units):
            yield Wrong("TDK-SLOT-TYPE", column, "warning")
        else:
            gap = True


def _slot_type(column: str, service_type: str) -> Iterator[Wrong]:
    if service_type in _SHORT_STAY_WRITTEN_AS_22:
        yield Wrong("TDK-SLOT-SHORT-STAY", column, "rule")
    elif service_type in _SHORT_STAY_PERHAPS_22:
        yield Wrong("TDK-SLOT-SHORT-STAY", column, "warning")
    elif service_type not in SERVICE_TYPES:
        yield Wrong("TDK-SLOT-TYPE", column, "warning")


# --- forms 1, 2, 3 ----------------------------------------------------------------------------------------------------


def _other_reason(_: FileFacts, __: UnitFacts, reason: str, other: str) -> Iterator[Wrong]:
    if other and reason != _OTHER_REASON:
        yield Wrong("TDK-NOTE-ELSEWHERE", "home_help_other_reason", "warning")


def _form_2_numbers(_: FileFacts, __: UnitFacts, issue: str, goal: str, content: str) -> Iterator[Wrong]:
    for column, number in (("issue_no", issue), ("goal_no", goal), ("content_no", content)):
        if number and int(number) < 1:
            yield Wrong("TDK-VALUE", column, "rule")


def _outside_insurance(_: FileFacts, __: UnitFacts, flag: str, provider: str) -> Iterator[Wrong]:
    if flag == _NOT_INSURED and provider:
        yield Wrong("TDK-OUTSIDE-INSURANCE", "provider_office", "warning")


def _form_3_kind(_: FileFacts, __: UnitFacts, *cells: str) -> Iterator[Wrong]:
    """A row is weekly service, daily life or other service: exactly one of the three groups, and filled."""
    left = iter(cells)
    groups = [[(column, next(left)) for column in columns] for columns in _FORM_3_KINDS]
    filled = [group for group in groups if any(value for _, value in group)]
    if not filled:
        yield Wrong("TDK-ROW-KIND", None, "error")
        return
    partial = [group for group in filled if not all(value for _, value in group)]
    if len(filled) > 1:
        odd = partial[-1] if partial else filled[-1]
        yield Wrong("TDK-ROW-KIND", next(column for column, value in odd if value), "rule")
        return
    for column, value in filled[0]:
        if not value:
            yield Wrong("TDK-REQUIRED", column, "rule")
    if filled[0] is groups[0] and not partial:
        yield from _times("service_start", "service_end", groups[0][2][1], groups[0][3][1])


# --- preventive care --------------------------------------------------------------------------------------------------


def _entrusted(_: FileFacts, __: UnitFacts, entrusted: str) -> Iterator[Wrong]:
    if not entrusted:
        yield Wrong("TDK-NEEDED", "entrusted", "warning")


def _support_numbers(_: FileFacts, __: UnitFacts, issue: str, support: str, service: str) -> Iterator[Wrong]:
    """Running numbers, though the table calls them text: decimal, and an upper one is repeated on each row below it."""
    numbers = (("issue_no", issue), ("support_no", support), ("service_no", service))
    needed = False
    for column, number in reversed(numbers):
        if number and not number.isdecimal():
            yield Wrong("TDK-VALUE", column, "warning")
        elif needed and not number:
            yield Wrong("TDK-NEEDED", column, "warning")
        needed = needed or bool(number)


def _contact(_: FileFacts, __: UnitFacts, method: str, other: str) -> Iterator[Wrong]:
    if method == _OTHER_CONTACT and not other:
        yield Wrong("TDK-NEEDED", "contact_method_other", "warning")


def _living(_: FileFacts, __: UnitFacts, status: str, note: str) -> Iterator[Wrong]:
    if status == _AWAY_FROM_HOME and not note:
        yield Wrong("TDK-NEEDED", "living_status_note", "warning")


def _family_image(facts: FileFacts, unit: UnitFacts, image: str) -> Iterator[Wrong]:
    if not image:
        return
    name = parse_name(image)
    if name is None or name.branch is None or (facts.parties_hold and name.parties != facts.name.parties):
        yield Wrong("TDK-PICTURE-NAME", "family_image_file", "rule")
    elif unit.pictures_hold and image.casefold() not in unit.pictures:
        yield Wrong("TDK-PICTURE-MISSING", "family_image_file", "warning")


if TYPE_CHECKING:
    Rule = tuple[tuple[str, ...], Callable[..., Iterator[Wrong]]]

_FORM_6: Final[tuple[Rule, ...]] = (
    (("month_and_office", "service_date"), _form_6_month),
    (("month_and_office",), _plan_office),
    (("units",), _units),
    (("service", "detail_code"), _form_6_service),
    (("times_of_day",), _form_6_times),
    (("month_and_office", "prorated_days"), _prorated),
    (("updater_office",), _form_6_updater),
)

RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "UPHOSOKU": (
        (("plan_date", "target_month"), _supplement_month),
        (("slots",), _slots),
        (("consent_office",), _consent),
        (("updater_office",), _updater),
    ),
    "UP1KYO": (
        (("plan_office",), _form_1_office),
        (("home_help_reason", "home_help_other_reason"), _other_reason),
        (("updater_office",), _updater),
    ),
    "UP2KYO": (
        (("issue_no", "goal_no", "content_no"), _form_2_numbers),
        (("insurance_flag", "provider_office"), _outside_insurance),
        (("updater_office",), _updater),
    ),
    "UP3KYO": ((tuple(column for kind in _FORM_3_KINDS for column in kind), _form_3_kind),),
    "UPPLAN": _FORM_6,
    "UPJSK": (*_FORM_6, (("provider_office",), _own_services)),
    "UPSIKYU": (
        (("target_month",), _month),
        (("service", "provider_office", "units", "discount"), _form_7_service),
        (("fixed_office_code",), _fixed_office),
        (("updater_office",), _updater),
    ),
    "UPKIHON": (
        (("entrusted",), _entrusted),
        (("contact_method", "contact_method_other"), _contact),
        (("living_status", "living_status_note"), _living),
        (("family_image_file",), _family_image),
    ),
    "UPYOBO": ((("entrusted",), _entrusted),),
    "UPYOBO_SUB": ((("issue_no", "support_no", "service_no"), _support_numbers),),
    "DLTPLAN": ((("target_month",), _month),),
    "DLTJSK": (
        (("target_month",), _month),
        (("provider_office",), _own_services),
        (("service_type",), _deleted_type),
    ),
}
