"""Sites as CSV, for a spreadsheet: a line a site, with a heading. A line without an id is a new site.

id,merchant_id,merchant_name_zh,merchant_name_en,name_zh,name_en,city_zh,city_en,timezone,contact_name,phone,address
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping

from fleet_server.sites.errors import SiteInvalid
from fleet_server.sites.shown import SiteShown
from fleet_server.sites.values import LONGEST
from protocol.shown_text import cell

MAX_LINES = 10_000
_NAMES = ("id", *LONGEST)


def written(sites: Iterable[SiteShown]) -> Iterator[str]:
    yield _line(_NAMES)
    for site in sites:
        yield _line([cell(str(getattr(site, name))) for name in _NAMES])


def read_sites(text: str) -> list[tuple[str, Mapping[str, str]]]:
    """Ids ("": new) and what the line says, checked in shape only. Raises ``SiteInvalid``."""
    # Spreadsheets begin a file with a mark of the byte order.
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        names = reader.fieldnames or []
        if set(names) - set(_NAMES) or len(set(names)) != len(names) or not names:
            raise SiteInvalid(f"line 1: expected some of {', '.join(_NAMES)}, each once")
        lines = [_values(row, f"line {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise SiteInvalid(f"line {reader.line_num}: expected CSV: {error}") from error
    if not 1 <= len(lines) <= MAX_LINES:
        raise SiteInvalid(f"expected 1 to {MAX_LINES} lines below the heading, came {len(lines)}")
    return lines


def _values(row: Mapping[str | None, str | None], place: str) -> tuple[str, Mapping[str, str]]:
    # The reader's own word for values beyond the heading, and for those that are missing.
    if None in row or None in row.values():
        raise SiteInvalid(f"{place}: expected as many values as the heading has")
    values = {str(name): _as_meant(value or "") for name, value in row.items()}
    return values.pop("id", "").strip(), values


def _as_meant(text: str) -> str:
    """The apostrophe before what a spreadsheet would take for a formula is not a part of it."""
    return text[1:] if text.startswith("'") and cell(text[1:]) == text else text


def _line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
