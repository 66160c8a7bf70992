from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import Windows
from tests.fleet_server.console.examples import DEVICES, SPARE

FIRST_PAGE_LIMIT_BYTES = 100_000
# As the browser counts: everything the page loaded, uncompressed. A stream that has not ended counts as nothing.
_SIZES = """() => Object.fromEntries(
  ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind)).map((one) => [one.name, one.decodedBodySize])
)"""  # noqa: E501 - one expression


def test_the_first_page_and_all_it_loads_stay_under_their_limit(windows: Windows) -> None:
    page = windows.open("/")
    expect(page.locator("#rows tr[id]")).to_have_count(len(DEVICES) + len(SPARE))
    page.wait_for_load_state("load")
    page.wait_for_function("performance.getEntriesByName(document.baseURI)[0].loadEventEnd > 0")
    loaded: dict[str, int] = page.evaluate(_SIZES)
    # The rows below the first screen follow on their own.
    sizes = {name: size for name, size in loaded.items() if "/fleet/rows" not in name}
    names = " ".join(sizes)
    assert all(name in names for name in ("htmx-with-sse.min.js", "components.css", "icons.svg", "console.mjs"))
    assert sum(sizes.values()) < FIRST_PAGE_LIMIT_BYTES, sizes
