"""The console's texts: takes them from the sources into the catalogues, and compiles the catalogues.

``build_locale.py``            compiles each `console.po` to the `console.mo` beside it
``build_locale.py --update``   first adds new texts to the catalogues and removes those no longer used
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from fleet_server.console.language import DOMAIN, LOCALE_DIR, Language, compile_catalogue

CONSOLE = LOCALE_DIR.parent
_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]
_JINJA_OPTIONS = {"encoding": "utf-8", "newstyle_gettext": "true", "trim_blocks": "true", "lstrip_blocks": "true"}
# Headers say nothing that changes by itself: the same texts give the same file.
_WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)
_KEYWORDS: dict[str, tuple[int, ...] | None] = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2)}


def extracted() -> Catalog:
    """Every text that the sources mark, without places: they would change with each edit."""
    found = Catalog(charset="utf-8")
    sources = extract_from_dir(CONSOLE, _METHODS, {"**.html": _JINJA_OPTIONS}, keywords=_KEYWORDS)
    for _name, _line, message, _comments, context in sources:
        found.add(message, context=context)
    return found


def update(language: Language, template: Catalog) -> None:
    path = po_path(language)
    known: dict[str, str] = {}
    if path.exists():
        with path.open("rb") as opened:
            known = {str(message.id): str(message.string) for message in read_po(opened, domain=DOMAIN)}
    catalogue = Catalog(
        locale=language.folder,
        charset="utf-8",
        project="tillmedic",
        version="1",
        msgid_bugs_address="-",
        last_translator="-",
        language_team="-",
        header_comment="# Texts of the console.",
        creation_date=_WRITTEN_AT,
        revision_date=_WRITTEN_AT,
        fuzzy=False,
    )
    for message in template:
        if isinstance(message.id, str) and message.id:
            text = message.id if language is Language.EN else known.get(message.id, "")
            catalogue.add(message.id, text, flags=message.flags)
    with path.open("wb") as opened:
        write_po(opened, catalogue, sort_output=True, no_location=True, width=120)


def po_path(language: Language) -> Path:
    return LOCALE_DIR / language.folder / "LC_MESSAGES" / f"{DOMAIN}.po"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true")
    if parser.parse_args().update:
        template = extracted()
        for language in Language:
            po_path(language).parent.mkdir(parents=True, exist_ok=True)
            update(language, template)
    for language in Language:
        po_path(language).with_suffix(".mo").write_bytes(compile_catalogue(po_path(language)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
