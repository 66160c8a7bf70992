from __future__ import annotations

from tests.browser.conftest import Served, Windows
from tests.fleet_server.console.examples import device_id


def test_a_link_on_another_site_opens_the_device_for_who_is_signed_in(windows: Windows, served: Served) -> None:
    page = windows.open("/", language="en")
    link = f"{served.url}/open?tid=60210000"
    # Another host name is another site, though the same server answers.
    page.route(
        "http://telephone.example/",
        lambda route: route.fulfill(body=f'<a href="{link}">call</a>', content_type="text/html"),
    )
    page.goto("http://telephone.example/")
    page.click("a")
    page.wait_for_url(f"**/devices/{device_id('till_one')}")
    assert page.locator("#device-head").get_by_text("60210000", exact=True).is_visible()
