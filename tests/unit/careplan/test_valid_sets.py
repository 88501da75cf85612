"""Valid sets made at random from the layouts: none may be refused, and every row comes back as it was written."""

from __future__ import annotations

import calendar
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

import careplan
from careplan import Context, DataFile, OfficeFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from careplan import Column

    Cells = dict[str, str]

MANAGER, PROVIDER, OTHER, CENTRE = "9970100018", "99A0100019", "9970100216", "9900100015"
TEXTS = (
    "見本　花子",
    "①㈱Ⅲ髙﨑～－",
    "ﾐﾎﾝ ﾊﾅｺ",
    "a,b",
    "一行目\r\n二行目",
    "一行目\n二行目",
    '"引用"',
    "\t字下げ",
    " ",
    "0",
    "R7.1.1～R7.6.30",
)
CARE_TYPES = ("11", "12", "13", "14", "15", "16", "21", "22", "2A", "31", "71", "72", "73", "76", "77", "78")
PREVENTIVE_TYPES = ("62", "63", "64", "66", "24", "34", "A2", "A3", "A6", "A8")


class Maker:
    """Makes valid sets of one version, month and pair of offices."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - test data
        self.version = self.pick(("202208", "202407"))
        low, high = ("202301", "202503") if self.version == "202208" else ("202504", "202712")
        self.month = self.month_between(low, high)
        self.sequence = f"{self.month}{self.random.randint(1, 28):02d}{self.random.randint(0, 235959) % 24:02d}0000"
        self.preventive = self.version == "202407" and self.random.random() < 0.4
        self.plan_day = self.day()
        self.people = [
            (f"{self.random.randint(0, 999999):06d}", self.pick((f"{n:010d}", f"H{n:09d}")))
            for n in self.random.sample(range(10**9), self.random.randint(1, 5))
        ]

    def pick(self, values: tuple[str, ...]) -> str:
        return self.random.choice(values)

    def month_between(self, low: str, high: str) -> str:
        number = self.random.randint(int(low[:4]) * 12 + int(low[4:]) - 1, int(high[:4]) * 12 + int(high[4:]) - 1)
        return f"{number // 12:04d}{number % 12 + 1:02d}"

    def day(self, month: str | None = None) -> str:
        month = month or self.month_between("190001", "209912")
        return f"{month}{self.random.randint(1, calendar.monthrange(int(month[:4]), int(month[4:]))[1]):02d}"

    def value(self, column: Column) -> str:  # noqa: C901, PLR0911 - one line per type of the standard
        length = column.max_length or 0
        random = self.random
        if column.type == "unused":
            return self.pick(("", "", "x"))
        if column.required != "yes" and random.random() < 0.4:
            return ""
        if column.allowed:
            return self.pick(tuple(column.allowed))
        match column.type:
            case "digits":
                return "".join(random.choices("0123456789", k=length))
            case "alnum":
                return "".join(random.choices("0123456789ABCXYZ", k=length))
            case "id":
                return "".join(random.choices("0123456789ABCXYZ", k=random.randint(1, length)))
            case "date8":
                return self.pick((self.day(), "20240229", "20000229"))
            case "integer":
                digits = "".join(random.choices("0123456789", k=random.randint(1, length)))
                return self.pick((digits, "-" + digits[1:])) if len(digits) > 1 else digits
            case "decimal":
                return self.pick(("10.00", "11.40", "0.00", "100.00"))
            case "postal":
                return "999-0011"
            case "phone":
                return self.pick(("03-0000-0000", "0000000000", "(03)0000 0000"))
            case "text":
                return "1" if length else self.pick(TEXTS)
        raise AssertionError(column.type)

    def row(self, kind: str, person: tuple[str, str], **cells: str) -> list[str]:
        layout = careplan.layout_of(kind, self.version)
        fixed = {"csv_version": self.version, "insurer_no": person[0], "insured_no": person[1], **cells}
        return [
            fixed.get(column.name_en, "") if column.name_en in fixed else self.value(column)
            for column in layout.columns
        ]

    def supplement(self, *, of_plan: bool, office: str) -> list[list[str]]:
        rows = []
        for person in self.people:
            slots: Cells = {}
            used = self.random.randint(0, 9)
            for slot in range(1, 10):
                names = (f"slot{slot}_limit_units", f"slot{slot}_total_units", f"slot{slot}_over_units")
                slots |= {name: self.pick(("0", "1234567", "-12", "")) if slot <= used else "" for name in names}
                slots[f"slot{slot}_service_type"] = self.pick(("11", "22", "15")) if slot <= used else ""
            dates = (self.plan_day, "000000") if of_plan else ("00000000", self.month)
            own = {"consent_office": self.pick(("", office)), "updater_office": self.pick(("", office))}
            rows.append(self.row("UPHOSOKU", person, plan_date=dates[0], target_month=dates[1], **own, **slots))
        return rows

    def times(self) -> tuple[str, str]:
        return self.random.choice(
            [("9999", "9999"), ("0000", "2400"), ("2300", "0000"), ("0900", "0930"), ("1000", "1000"), ("2330", "2400")]
        )

    def form_6(
        self, kind: str, office: str, provider: str, types: tuple[str, ...], plan_office: str
    ) -> list[list[str]]:
        rows = []
        days = calendar.monthrange(int(self.month[:4]), int(self.month[4:]))[1]
        for person in self.people:
            for number in range(self.random.randint(1, 6)):
                start, end = self.times()
                equipment = types == ("17",) or (kind == "UPPLAN" and self.random.random() < 0.2)
                tais, notice = self.random.choice(
                    [("00123-000045", ""), ("", "AB123-00004c"), ("00123-000045", "00123-000045")]
                )
                rows.append(
                    self.row(
                        kind,
                        person,
                        target_month=self.month,
                        plan_office=plan_office,
                        service_date=self.day(self.month),
                        prorated_days=self.pick(("", "1" * days + "0" * (31 - days), "0" * 31)),
                        start_time=start,
                        end_time=end,
                        times="1",
                        service_code=f"{'17' if equipment else self.pick(types)}{1000 + number}",
                        tais_code=tais if equipment else "",
                        equipment_notice_code=notice if equipment else "",
                        detail_code="",
                        provider_office=provider if kind == "UPJSK" or number == 0 else self.pick((provider, OTHER)),
                        satellite_no=self.pick(("", "", "1", "A2")),
                        updater_office=self.pick(("", office)),
                    )
                )
        return rows

    def form_7(self, office: str, types: tuple[str, ...]) -> list[list[str]]:
        rows = []
        for person in self.people:
            base = {
                "target_month": self.month,
                "updater_office": self.pick(("", office)),
                "tais_code": "",
                "equipment_notice_code": "",
            }
            for kind in self.random.sample(types, self.random.randint(1, min(3, len(types)))):
                count = self.random.randint(1, 3)
                rows += [
                    self.row("UPSIKYU", person, provider_office=PROVIDER, service_code=f"{kind}{2000 + n}", **base)
                    for n in range(count)
                ]
                for total in ("AAAA", "EEEE", "ZZZZ"):
                    if (total == "AAAA" and count > 1) or self.random.random() < 0.3:
                        rows.append(self.total(person, kind + total, self.pick((PROVIDER, "9999999999")), base))
            rows.append(self.total(person, "999999", "9999999999", base))
        return rows

    def total(self, person: tuple[str, str], code: str, provider: str, base: Cells) -> list[str]:
        return self.row(
            "UPSIKYU",
            person,
            provider_office=provider,
            service_code=code,
            units=self.pick(("0", "00")),
            discount_rate="",
            discounted_units="",
            times_or_days=self.pick(("0", "1")),
            **base,
        )

    def plan_of_month(self) -> dict[str, list[list[str]]]:
        types = PREVENTIVE_TYPES if self.preventive else CARE_TYPES
        self.sender, self.recipient = (CENTRE, "46") if self.preventive else (MANAGER, "43"), (PROVIDER, types[0])
        office = self.sender[0]
        return {
            "UPPLAN": self.form_6("UPPLAN", office, PROVIDER, types, office),
            "UPSIKYU": self.form_7(office, types),
            "UPHOSOKU": self.supplement(of_plan=False, office=office),
        }

    def results(self) -> dict[str, list[list[str]]]:
        types = (self.pick(PREVENTIVE_TYPES if self.preventive else CARE_TYPES),)
        self.sender, self.recipient = (PROVIDER, types[0]), (CENTRE, "46") if self.preventive else (MANAGER, "43")
        return {"UPJSK": self.form_6("UPJSK", PROVIDER, PROVIDER, types, self.recipient[0])}

    def plan(self) -> dict[str, list[list[str]]]:
        self.sender, self.recipient = (MANAGER, "43"), (PROVIDER, self.pick(CARE_TYPES))
        day = {"plan_date": self.plan_day}
        made: dict[str, list[list[str]]] = {
            "UP1KYO": [],
            "UP2KYO": [],
            "UPHOSOKU": self.supplement(of_plan=True, office=MANAGER),
        }
        for person in self.people:
            made["UP1KYO"].append(
                self.row(
                    "UP1KYO",
                    person,
                    plan_office=MANAGER,
                    updater_office=self.pick(("", MANAGER)),
                    home_help_reason="3",
                    **day,
                )
            )
            made["UP2KYO"] += [
                self.row(
                    "UP2KYO",
                    person,
                    issue_no=str(n),
                    goal_no="1",
                    content_no="99",
                    insurance_flag="Y",
                    updater_office=MANAGER,
                    provider_office=PROVIDER,
                    **day,
                )
                for n in range(1, self.random.randint(2, 5))
            ]
        if self.version == "202407":
            made["UP3KYO"] = [row for person in self.people for row in self.form_3(person)]
        return made

    def form_3(self, person: tuple[str, str]) -> list[list[str]]:
        empty = dict.fromkeys(
            (
                "service_content",
                "weekday",
                "service_start",
                "service_end",
                "daily_activity",
                "activity_start",
                "activity_end",
                "other_service",
            ),
            "",
        )
        rows = []
        for n in range(self.random.randint(0, 5)):
            start, end = self.times()
            filled = self.random.choice(
                [
                    {"service_content": f"訪問{n}", "weekday": "1", "service_start": start, "service_end": end},
                    {"daily_activity": f"起床{n}", "activity_start": "2200", "activity_end": "0600"},
                    {"other_service": f"通院{n}"},
                ]
            )
            rows.append(self.row("UP3KYO", person, plan_date=self.plan_day, **{**empty, **filled}))
        return rows

    def preventive_forms(self) -> dict[str, list[list[str]]]:
        self.version = "202407"
        self.sender, self.recipient = self.random.choice(
            [
                ((CENTRE, "46"), (PROVIDER, "A2")),
                ((CENTRE, "AF"), (MANAGER, "43")),
                ((MANAGER, "43"), (CENTRE, "46")),
                ((MANAGER, "43"), (PROVIDER, "A6")),
            ]
        )
        made: dict[str, list[list[str]]] = {}
        which = self.pick(("basic", "both", "support"))
        if which != "support":
            made["UPKIHON"] = [
                self.row("UPKIHON", person, consulted_on=self.plan_day, family_image_file="") for person in self.people
            ]
            for sub in ("UPKIHON_SUB1", "UPKIHON_SUB2"):
                rows = [
                    self.row(sub, person, consulted_on=self.plan_day)
                    for person in self.people
                    if self.random.random() < 0.7
                ]
                if rows or self.random.random() < 0.5:
                    made[sub] = rows
        if which != "basic":
            made["UPYOBO"] = [self.row("UPYOBO", person, plan_date=self.plan_day) for person in self.people]
            made["UPYOBO_SUB"] = [
                self.row("UPYOBO_SUB", person, plan_date=self.plan_day, issue_no="1", support_no=str(n), service_no="1")
                for person in self.people
                for n in range(1, self.random.randint(2, 4))
            ]
        return made

    def deletes(self) -> dict[str, list[list[str]]]:
        kind = self.pick(
            ("DLT1KYO", "DLTPLAN", "DLTJSK") + (("DLTKIHON", "DLTYOBO") if self.version == "202407" else ())
        )
        self.sender, self.recipient = (MANAGER, "43"), (PROVIDER, "11")
        if kind in {"DLTKIHON", "DLTYOBO"}:
            self.sender, self.recipient = (CENTRE, "46"), (PROVIDER, "A2")
        if kind == "DLTJSK":
            self.sender, self.recipient = (PROVIDER, "11"), (MANAGER, "43")
        cells = {"target_month": self.month, "provider_office": PROVIDER, "service_type": "11"}
        return {kind: [self.row(kind, person, **cells) for person in self.people]}

    def name(self, kind: str) -> str:
        known = careplan.KINDS[self.version, kind]
        month = self.month if known.has_month else None
        if kind == "UPHOSOKU" and self.sender[0] == MANAGER and self.of_plan:
            month = "000000"
        if kind == "UPKIHON" and self.random.random() < 0.3:
            month = "000000"
        typed = self.version == "202407"
        name = careplan.FileName(
            kind,
            self.version,
            month,
            self.sender[0],
            self.sender[1] if typed else None,
            self.recipient[0],
            self.recipient[1] if typed else None,
            self.sequence,
            None,
        )
        return name.render(self.pick((".CSV", ".csv", ".Csv")))

    def bytes_of(self, kind: str, rows: list[list[str]]) -> bytes:
        """The file, in one of the forms that are read alike."""
        style = self.pick(
            ("standard", "standard", "all quoted", "quoted nulls", "LF", "no last line end", "blank line")
        )
        data = careplan.write_rows(kind, self.version, rows)
        if style in {"all quoted", "quoted nulls"}:
            lines = (
                ",".join(
                    '"' + cell.replace('"', '""') + '"' if cell or style == "quoted nulls" else cell for cell in row
                )
                for row in rows
            )
            data = "".join(line + "\r\n" for line in lines).encode("cp932")
        elif style == "LF":
            data = data.replace(b"\r\n", b"\n")
        elif style == "no last line end":
            data = data.removesuffix(b"\r\n")
        elif style == "blank line":
            data += b"\r\n"
        return data

    def files(self) -> list[DataFile]:
        makes: list[Callable[[], dict[str, list[list[str]]]]] = [
            self.plan_of_month,
            self.results,
            self.plan,
            self.preventive_forms,
            self.deletes,
        ]
        make = self.random.choice(makes)
        self.of_plan = make == self.plan
        self.rows = make()
        return [DataFile(self.name(kind), self.bytes_of(kind, rows)) for kind, rows in self.rows.items()]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_no_valid_set_is_refused(seed: int) -> None:
    maker = Maker(seed)
    files = maker.files()
    context = Context(OfficeFacts(maker.sender[0], frozenset()), OfficeFacts(maker.recipient[0], frozenset()))
    report = careplan.check_unit(files, context)
    assert not [(f.code, f.file, f.row, f.column_name) for f in report.findings if f.severity == "error"]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_rows_come_back_as_they_were_written(seed: int) -> None:
    maker = Maker(seed)
    for file, (kind, rows) in zip(maker.files(), maker.rows.items(), strict=True):
        found = careplan.read_rows(file)
        assert not [finding for finding in found.findings if finding.severity == "error"]
        unix = b"\r\n" not in file.data
        as_read = [[cell.replace("\r\n", "\n") if unix else cell for cell in row] for row in rows]
        assert [list(row) for row in found.rows] == as_read
        written = careplan.write_rows(kind, maker.version, rows)
        assert careplan.read_rows(DataFile(file.name, written)).rows == [tuple(row) for row in rows]
