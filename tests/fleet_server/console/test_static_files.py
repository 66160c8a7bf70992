from __future__ import annotations

import re

from fleet_server.console.assets import STATIC_DIR, asset_url, load_assets, strip_css
from tests.fleet_server.console.conftest import Browser

STYLES_LIMIT_BYTES = 30_000


def dark_blocks() -> list[str]:
    text = (STATIC_DIR / "tokens.css").read_text("utf-8")
    return re.findall(r"color-scheme:dark;(.*?)\n\s*\}", text, flags=re.DOTALL)


def test_dark_by_the_system_and_by_choice_are_the_same() -> None:
    system, choice = ("".join(block.split()) for block in dark_blocks())
    assert system == choice


def test_styles_keep_their_budget_and_their_meaning_when_stripped() -> None:
    assets = load_assets()
    styles = ("tokens.css", "device.css", "components.css")
    assert sum(len(assets[name].content) for name in styles) < STYLES_LIMIT_BYTES
    assert strip_css("/* why */ a > b { color : red; }\n") == "a>b{color : red}"
    # A space around the operators of calc() is part of the language.
    assert "calc(100vh - var(--top))" in assets["components.css"].content.decode()


def test_no_page_or_style_names_another_host() -> None:
    for name, asset in load_assets().items():
        if not name.startswith("vendor/"):
            addresses = set(re.findall(rb"https?://[^\s\"')]+", asset.content))
            assert addresses <= {b"http://www.w3.org/2000/svg"}, name


def test_a_file_named_by_its_content_is_kept_and_any_other_is_asked_for_again(browser: Browser) -> None:
    client = browser()
    assert "immutable" in client.get(asset_url("components.css")).headers["cache-control"]
    assert client.get("/static/components.css?v=other").headers["cache-control"] == "no-cache"
    assert client.get("/static/../router.py").status_code == 404
    assert client.get("/static/components.css.bak").status_code == 404


def test_a_page_does_without_a_library_that_is_not_installed() -> None:
    assert asset_url("vendor/none.js") == ""
