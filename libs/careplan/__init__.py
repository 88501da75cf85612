"""The national standard for the exchange of care-plan data, as a library: names, rows, checks, wording.

Standard library only, no I/O but the tables inside the package, no clock. Useful alone to any vendor::

    name = careplan.parse_name("UPPLAN_202509_9970100018_43_9970100117_11_20250825121901.CSV")
    report = careplan.check_unit([careplan.DataFile(file_name, data), ...], careplan.Context(sender, recipient))
    for finding in report.findings:
        print(careplan.wording(finding).message)
"""

from careplan.checks import Context, FileReport, OfficeFacts, UnitReport, check_unit
from careplan.findings import FINDINGS_MAX, Finding, FindingLog
from careplan.kinds import CSV_VERSIONS, KINDS, SERVICE_TYPES, FileKind, Role, ServiceType, label_of, role_of
from careplan.layout import Column, Layout, layout_of
from careplan.names import FileName, looks_like_data_name, misnumbered_part, parse_name
from careplan.numbers import InsuredNumber, OfficeNumber, Sequence, ServiceMonth
from careplan.patterns import TEXT_MAX
from careplan.reader import DataFile, ReadResult, read_rows
from careplan.samples import fresh_sample_sets, sample_sets
from careplan.units import UNITS, Membership, PlannedUnit, SendingUnit, expected_members, plan_units
from careplan.wording import SHORT_NAMES, FindingText, Wording, finding_texts, wording, wording_with_content
from careplan.writer import write_rows

__all__ = [
    "CSV_VERSIONS",
    "FINDINGS_MAX",
    "KINDS",
    "SERVICE_TYPES",
    "SHORT_NAMES",
    "TEXT_MAX",
    "UNITS",
    "Column",
    "Context",
    "DataFile",
    "FileKind",
    "FileName",
    "FileReport",
    "Finding",
    "FindingLog",
    "FindingText",
    "InsuredNumber",
    "Layout",
    "Membership",
    "OfficeFacts",
    "OfficeNumber",
    "PlannedUnit",
    "ReadResult",
    "Role",
    "SendingUnit",
    "Sequence",
    "ServiceMonth",
    "ServiceType",
    "UnitReport",
    "Wording",
    "check_unit",
    "expected_members",
    "finding_texts",
    "fresh_sample_sets",
    "label_of",
    "layout_of",
    "looks_like_data_name",
    "misnumbered_part",
    "parse_name",
    "plan_units",
    "read_rows",
    "role_of",
    "sample_sets",
    "wording",
    "wording_with_content",
    "write_rows",
]
