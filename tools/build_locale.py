"""The console's texts: taken from the sources into the catalogues, and compiled.

``build_locale.py``            adds new texts to the catalogues, removes unused ones, and compiles them
``build_locale.py --compile``  only compiles
``build_locale.py --check``    writes nothing; fails when a text is missing, unused or untranslated
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


def known_texts(language: Language) -> dict[str, str]:
    path = po_path(language)
    if not path.exists():
        return {}
    with path.open("rb") as opened:
        return {str(message.id): str(message.string) for message in read_po(opened, domain=DOMAIN) if message.id}


def update(language: Language, template: Catalog) -> None:
    known = known_texts(language)
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
    path = po_path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as opened:
        write_po(opened, catalogue, sort_output=True, no_location=True, width=120)


def problems(language: Language, template: Catalog) -> list[str]:
    """One line for each text that is not as it should be."""
    known = known_texts(language)
    wanted = {str(message.id) for message in template if message.id}
    found = {"missing": wanted - set(known), "unused": set(known) - wanted}
    found["untranslated"] = {source for source, text in known.items() if not text}
    return [f"{language.folder}: {what}: {text!r}" for what, texts in found.items() for text in sorted(texts)]


def po_path(language: Language) -> Path:
    return LOCALE_DIR / language.folder / "LC_MESSAGES" / f"{DOMAIN}.po"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--compile", action="store_true", help="write the compiled catalogues only")
    mode.add_argument("--check", action="store_true", help="write nothing, fail when a text is missing")
    given = parser.parse_args()
    if given.check:
        template = extracted()
        wrong = [line for language in Language for line in problems(language, template)]
        print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
        return 1 if wrong else 0
    if not given.compile:
        template = extracted()
        for language in Language:
            update(language, template)
    for language in Language:
        po_path(language).with_suffix(".mo").write_bytes(compile_catalogue(po_path(language)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
