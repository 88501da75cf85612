"""Findings and reasons in the words that offices read: from careplan's table, else from the API's own."""

import json
from collections.abc import Mapping
from typing import Any

import careplan
from services.projection.shapes import Finding, FindingCounts, Reason, Verdict
from todoke.relay.problem import wordings


def verdict_of(type_name: str, detail: str, names: Mapping[int, str], *, listed: bool) -> Verdict:
    """What validation said, in words. `names` gives file names by ordinal; `listed` False leaves the counts alone."""
    said: dict[str, Any] = json.loads(detail)
    counts = FindingCounts(errors=said["errors"], warnings=said["warnings"])
    findings = [_finding(pointer, names) for pointer in said["findings"]] if listed else []
    if type_name == "MessageRejected":
        return Verdict(verdict="reject", findings=findings, counts=counts)
    verdict = "accept_with_warning" if counts.warnings else "accept"
    return Verdict.model_validate({"verdict": verdict, "findings": findings, "counts": counts})


def _finding(pointer: Mapping[str, Any], names: Mapping[int, str]) -> Finding:
    file = names.get(pointer.get("part", 0))
    found = careplan.Finding(
        code=pointer["code"],
        severity=pointer["severity"],
        file=file,
        row=pointer.get("row"),
        column=pointer.get("column"),
        column_name=pointer.get("column_name"),
        detail=pointer.get("detail", {}),
    )
    number, message, advice = _words(found)
    return Finding(
        code=found.code,
        number=number,
        severity=found.severity,
        file=file,
        row=found.row,
        column=found.column,
        column_name=found.column_name,
        message=message,
        advice=advice,
    )


def _words(finding: careplan.Finding) -> tuple[str | None, str, str]:
    own = wordings().get(finding.code)
    if own is not None and finding.code not in careplan.finding_texts():
        fill = {name: str(value) for name, value in finding.detail.items()}
        return own.number, _filled(own.title, fill), _filled(own.detail, fill)
    return careplan.wording(finding)


class _Filling(dict[str, str]):
    """Values of a sentence; one that an older event lacks becomes a dash."""

    def __missing__(self, key: str) -> str:
        return "-"


def _filled(sentence: str, values: Mapping[str, str]) -> str:
    return sentence.format_map(_Filling(values))


def reason_of(status: str, reason: str | None) -> Reason | None:
    """Why a message went nowhere, from the row's `reason`; None for one that is under way or arrived.

    Of a rejection it is its first error.
    """
    if status not in ("rejected", "undeliverable") or reason is None:
        return None
    said: dict[str, Any] = json.loads(reason)
    finding = careplan.Finding(
        code=said["code"],
        severity="error",
        row=said.get("row"),
        column=said.get("column"),
        column_name=said.get("column_name"),
        detail=said.get("detail", {}),
    )
    number, message, _ = _words(finding)
    return Reason(code=finding.code, number=number, message=message)
