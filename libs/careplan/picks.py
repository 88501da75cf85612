"""Which cells the checks across cells and rows need, for each kind of file.

The row patterns capture exactly these. A pick is one column or a span of neighbours (joined by a comma), so that a row
of 25 cells is carried on as a tuple of about ten strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from careplan.layout import Layout


@dataclass(frozen=True, slots=True)
class Pick:
    """A named span of columns, both ends included; left out of layouts that lack its first column."""

    name: str
    first: str
    last: str

    def fits(self, layout: Layout) -> bool:
        """Whether the layout has these columns."""
        return layout.has(self.first)

    def span(self, layout: Layout) -> tuple[int, int]:
        """Indices from 0 of the first and the last column; a last column that a version lacks is left out."""
        first = layout.places[self.first]
        return first, layout.places.get(self.last, first)


def _one(name: str) -> Pick:
    return Pick(name, name, name)


_PERSON: Final = Pick("person", "insurer_no", "insured_no")
_SLOTS: Final = Pick("slots", "slot1_service_type", "slot9_over_units")
_SERVICE: Final = Pick("service", "service_code", "equipment_notice_code")


def _each(*names: str) -> tuple[Pick, ...]:
    return (_PERSON, *map(_one, names))


_FORM_6: Final = (
    _PERSON,
    Pick("month_and_office", "target_month", "plan_office"),
    _one("units"),
    _one("service_date"),
    _one("prorated_days"),
    Pick("times_of_day", "start_time", "end_time"),
    _SERVICE,
    _one("detail_code"),
    _one("provider_office"),
    _one("satellite_no"),
    _one("updater_office"),
)

ISSUE_TEXTS: Final = ("overall_issue", "proposal", "proposal_wish", "goal")
"""What UPYOBO_SUB says of an issue, in its first row only."""
SUPPORT_TEXTS: Final = ("support_point", "support_informal", "support_formal")
"""What it says of a support plan, likewise."""

PICKS: Final[Mapping[str, tuple[Pick, ...]]] = {
    "UPHOSOKU": (
        _PERSON,
        _one("plan_date"),
        _SLOTS,
        _one("consent_office"),
        _one("updater_office"),
        _one("target_month"),
    ),
    "UP1KYO": (
        _PERSON,
        _one("plan_office"),
        _one("plan_date"),
        _one("home_help_reason"),
        _one("home_help_other_reason"),
        _one("updater_office"),
    ),
    "UP2KYO": (
        _PERSON,
        _one("plan_date"),
        _one("issue_no"),
        _one("goal_no"),
        _one("content_no"),
        _one("insurance_flag"),
        _one("provider_office"),
        _one("updater_office"),
    ),
    "UP3KYO": (
        _PERSON,
        _one("plan_date"),
        _one("service_content"),
        _one("weekday"),
        _one("service_start"),
        _one("service_end"),
        _one("daily_activity"),
        _one("activity_start"),
        _one("activity_end"),
        _one("other_service"),
    ),
    "UPPLAN": _FORM_6,
    "UPJSK": _FORM_6,
    "UPSIKYU": (
        _PERSON,
        _one("target_month"),
        _one("provider_office"),
        _one("satellite_no"),
        _SERVICE,
        _one("units"),
        Pick("discount", "discount_rate", "discounted_units"),
        _one("managed_units"),
        _one("fixed_office_code"),
        _one("updater_office"),
    ),
    "UPKIHON": (
        _PERSON,
        _one("consulted_on"),
        _one("entrusted"),
        _one("contact_method"),
        _one("contact_method_other"),
        _one("living_status"),
        _one("living_status_note"),
        _one("family_image_file"),
    ),
    "UPKIHON_SUB1": _each("consulted_on", "time_text", "person_activity", "family_activity"),
    "UPKIHON_SUB2": _each(
        "consulted_on",
        "illness_date_text",
        "illness",
        "doctor",
        "doctor_role",
        "doctor_phone",
        "progress",
        "treatment",
    ),
    "UPYOBO": (_PERSON, _one("plan_date"), _one("entrusted")),
    "UPYOBO_SUB": _each("plan_date", "issue_no", *ISSUE_TEXTS, "support_no", *SUPPORT_TEXTS, "service_no"),
    "DLT1KYO": (_PERSON, _one("plan_date")),
    "DLTPLAN": (_PERSON, _one("target_month")),
    "DLTJSK": (_PERSON, _one("target_month"), _one("provider_office"), _one("service_type")),
    "DLTKIHON": (_PERSON, _one("consulted_on")),
    "DLTYOBO": (_PERSON, _one("plan_date")),
}

# Kinds whose picks hold free text, which stands quoted in the file: there the quotes are taken off before use.
QUOTED_PICKS: Final = frozenset({"UP1KYO", "UP3KYO", "UPKIHON", "UPKIHON_SUB1", "UPKIHON_SUB2", "UPYOBO_SUB"})
