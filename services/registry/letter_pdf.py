"""The letter as a PDF: A4, one page, tagged (PDF/UA-1), fonts embedded. The same letter gives the same bytes.

Pure but for the reading of template and fonts. Typesetting takes some tenths of a second: call it in a thread.
"""

import functools
import json
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import typst
from fontTools.ttLib import TTFont

from services.registry.secrets import CAPITALS, CLASSES, DIGITS, SIGNS, SMALL
from todoke.relay.clock import JAPAN

FORM = "NUCL02_021"
TITLE = "電子請求登録結果に関するお知らせ"
GRID_CELLS = 20
"""Cells of each secret, whatever its length."""

HEADS = {CAPITALS: "大文字", SMALL: "小文字", DIGITS: "数字", SIGNS: "記号"}
BLANK = "空白"

REIWA_BEGAN = date(2019, 5, 1)
"""令和元年5月1日: letters are of this era."""

_REIWA_ZERO = 2018
_FONTS = ("noto-cjk-sans-jp-regular", "noto-cjk-sans-jp-bold")
_TEMPLATE = "letter.typ"

GETA = "〓"
"""What typesetters put for a character that their fonts lack: an office whose name has one gets its letter too."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a letter tells: the office, its KJ-ID and its two secrets, on a day, from whom, and where to begin."""

    kj_id: str
    number: str
    name: str
    phone: str
    fax: str
    address: str
    password: str
    certificate_secret: str
    issued_on: date
    issuer: str
    usage_address: str


def pdf_of(letter: Letter) -> bytes:
    """The letter, typeset. Raises `ValueError` for a day before 令和."""
    return typst.compile(
        _template(),
        format="pdf",
        sys_inputs={"letter": json.dumps(_contents(letter), ensure_ascii=False)},
        font_paths=_fonts(),
        pdf_standards="ua-1",
        timestamp=datetime.combine(letter.issued_on, datetime.min.time(), JAPAN),
    )


def cells(secret: str) -> list[dict[str, str]]:
    """The cells of a grid: each head names the class of its own character, or that there is none."""
    return [{"head": _head(each), "character": each} for each in secret.ljust(GRID_CELLS)]


def japanese_era(day: date) -> str:
    """A day as letters have it: 令和8年11月4日. Raises `ValueError` for a day before 令和."""
    if day < REIWA_BEGAN:
        raise ValueError("before 令和")
    year = day.year - _REIWA_ZERO
    return f"令和{'元' if year == 1 else year}年{day.month}月{day.day}日"


def _head(character: str) -> str:
    return next((HEADS[kind] for kind in CLASSES if character in kind), BLANK)


def shown(text: str) -> str:
    """A text as the letter's fonts can set it: in PDF/UA-1 nothing may be what they lack (ISO 14289-1, 7.21.8)."""
    known = _characters()
    return "".join(each if each in known else GETA for each in text)


def _contents(letter: Letter) -> dict[str, Any]:
    return {
        "title": TITLE,
        "to": shown(letter.name),
        "issued_on": japanese_era(letter.issued_on),
        "issuer": letter.issuer,
        "opening": "介護給付費等の電子請求に際し、下記のとおり登録いたしましたので、ご連絡いたします。",
        "facts": [
            [_fact("ユーザーID", letter.kj_id, "bold"), _fact("事業所番号", letter.number)],
            [_fact("事業所名", letter.name)],
            [_fact("電話番号", letter.phone), _fact("FAX番号", letter.fax)],
            [_fact("住所", letter.address)],
        ],
        "grids": [
            {"label": "パスワード", "cells": cells(letter.password)},
            {"label": "証明書発行用パスワード", "cells": cells(letter.certificate_secret)},
        ],
        "notes": [
            "ID、パスワード及び証明書発行用パスワードは、他に漏洩しないよう十分な管理を行ってください",
            "証明書発行用パスワードは証明書発行申請（更新の申請を含む）の際に必要となりますので大切に保管してください",
        ],
        "steps": [
            f"届けの利用状況Webサイト（{letter.usage_address}）を開き、上のユーザーIDとパスワードでログインします。",
            "最初のログインで、新しいパスワードを決めます。",
            "「はじめての方」を開き、手引きを取り出します。",
        ],
        "form": FORM,
    }


def _fact(label: str, text: str, weight: str = "regular") -> dict[str, str]:
    return {"label": label, "text": shown(text), "weight": weight}


@functools.cache
def _template() -> bytes:
    return resources.files("services.registry").joinpath(_TEMPLATE).read_bytes()


@functools.cache
def _fonts() -> typst.Fonts:
    """The two fonts of the packages, and none of this machine."""
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=_folders())


@functools.cache
def _characters() -> frozenset[str]:
    """The characters that both fonts have, and the selectors that choose among forms of one (Unicode section 23.4)."""
    tables = []
    for path in (path for folder in _folders() for path in folder.glob("*.otf")):
        with TTFont(path, lazy=True) as font:
            tables.append(frozenset(font.getBestCmap()))
    selectors = frozenset((*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
    return frozenset(map(chr, frozenset.intersection(*tables) | selectors))


def _folders() -> list[Path]:
    return [Path(str(distribution(name).locate_file(name.replace("-", "_")))) for name in _FONTS]
