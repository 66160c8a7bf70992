"""A hostile text in every field that somebody else can fill, by the real doors, and then a look at all that is shown.

A field that the program has and `table.toml` has not fails the test, and so does one that takes or shows what the table
says it does not.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.hostile.fields import READ_BY_HAND, all_fields
from tests.integration.hostile.installation import Person
from tests.integration.hostile.looking import Witness
from tests.integration.hostile.places import ROOT, addresses, look_everywhere
from tests.integration.hostile.seeding import PATIENCE_S, Seeded, marks_kept, seeded_installation
from tests.integration.hostile.words import Planted
from tests.support.hostile import MARK

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage

pytestmark = [pytest.mark.integration, pytest.mark.browser]
HERE = Path(__file__).parent
# What hostile text has made of a page that is open, and all that it says.
_LOOK = """mark => {
    const made = window[mark] === undefined ? [] : ["it ran"], texts = [];
    for (const one of document.querySelectorAll("*")) {
        const names = [one.localName, ...one.getAttributeNames()];
        if (names.some(name => name.includes(mark) || name.startsWith("on"))) made.push(one.outerHTML.slice(0, 200));
        for (const name of ["src", "href", "action", "formaction"]) {
            const value = (one.getAttribute(name) || "").trim().toLowerCase();
            if (/^(javascript|data|vbscript):/.test(value)) made.push(one.outerHTML.slice(0, 200));
        }
        for (const name of one.getAttributeNames()) texts.push(one.getAttribute(name));
    }
    document.body.normalize();
    const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) texts.push(walker.currentNode.data);
    return {made, texts};
}"""


def names_in_the_table() -> dict[str, str]:
    table = tomllib.loads((HERE / "table.toml").read_text("utf-8"))
    return {name: how for of_door in table.values() for name, how in of_door.items()}


def test_every_field_is_in_the_table() -> None:
    known = {field.name for field in all_fields() if field.is_open}
    assert known == set(names_in_the_table())


def test_no_other_form_is_read_by_hand() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fleet_server").rglob("*.py")
        if "request.form()" in path.read_text("utf-8")
    }
    # The first reads only the token, the second only says what was typed again.
    by_nobody = {"fleet_server/auth/dependencies.py", "fleet_server/console/problems.py"}
    assert found - by_nobody == {f"fleet_server/console/pages/{name}.py" for name in ("sites", "device", "playbooks")}
    assert len(READ_BY_HAND) == 3


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    with seeded_installation(tmp_path_factory.mktemp("h"), Planted()) as made:
        yield made


def test_what_was_planted_is_text_wherever_it_is_shown(seeded: Seeded) -> None:
    witness = Witness(seeded.planted)
    look_everywhere(witness, seeded)
    kept = marks_kept(seeded.site)
    table = names_in_the_table()
    how = {
        name: told(seeded, witness, kept, name)
        for name in sorted({*seeded.let_in, *table})
        if seeded.planted.marks_of(name)
    }
    assert witness.wrong == []
    assert {name: how.get(name, "nobody planted it") for name in table} == table
    assert {name for name, one in how.items() if name not in table and one != "refused"} == set()


def test_in_a_browser_it_is_text_and_nothing_runs(seeded: Seeded, chromium: Browser) -> None:
    """Two pages of each kind: what no other reader of HTML can tell."""
    witness, complaints = Witness(seeded.planted), list[str]()
    with closing(Person(seeded.site.url)) as person:
        context = chromium.new_context(base_url=seeded.site.url)
        context.set_default_timeout(PATIENCE_S * 1000)
        cookies = [
            {"name": name, "value": value, "url": seeded.site.url} for name, value in person.client.cookies.items()
        ]
        context.add_cookies(cookies)  # type: ignore[arg-type]  # a TypedDict of just these
        page = context.new_page()
        page.on("console", lambda said: complaints.extend([f"{page.url}: {said.text}"] * is_complaint(said)))
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"{page.url}: {dialog.message}"))
        seen: Counter[str] = Counter()
        for place, address in addresses(seeded.site, "console"):
            seen[place] += 1
            if seen[place] > 2 or place.endswith("/search/palette"):
                continue
            page.goto(address, wait_until="load")
            told = page.evaluate(_LOOK, MARK)
            assert told["made"] == [], (place, told["made"])
            witness.texts(place, told["texts"])
        context.close()
    assert witness.wrong == []
    assert complaints == []
    assert len(witness.seen) > 50


def is_complaint(said: ConsoleMessage) -> bool:
    """Such as that a script was not let run. That a page is none for whoever asks is no harm."""
    return said.type == "error" and not said.text.startswith("Failed to load resource")


def told(seeded: Seeded, witness: Witness, kept: set[str], name: str) -> str:
    marks = set(seeded.planted.marks_of(name))
    if not seeded.let_in.get(name, True):
        return "refused"
    shown = {place for mark in marks for place in witness.seen.get(mark, ())}
    if any(not place.startswith("answer ") for place in shown):
        return "shown"
    return "hidden" if marks & kept else "passing"
