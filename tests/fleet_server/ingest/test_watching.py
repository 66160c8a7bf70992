"""Which requests for live mode are passed on to a link."""

from __future__ import annotations

from fleet_server.ingest import watching
from fleet_server.ingest.watching import SPACING_S, Watching
from fleet_server.mqtt import Received
from protocol.topics import WATCH

LINK, OTHER = "d-aaaaaaaaaaaa", "d-bbbbbbbbbbbb"


def request(link: str = LINK, for_s: float = 20.0) -> Received:
    return Received(WATCH, b'{"link":"%s","for_s":%f}' % (link.encode(), for_s), None, 0, 0)


def test_several_watchers_of_one_link_ask_it_once() -> None:
    asked = Watching()
    assert asked.due([request(), request(for_s=30), request(OTHER)], 0.0) == {LINK: 30.0, OTHER: 20.0}
    assert asked.due([request(), request(OTHER)], SPACING_S - 0.1) == {}
    assert asked.due([request()], SPACING_S) == {LINK: 20.0}


def test_what_is_no_request_is_counted_and_nobody_is_asked() -> None:
    asked = Watching()
    wrong = [b"", b"[]", b'{"link":"svc-fleet-1","for_s":20}x', b'{"link":"short","for_s":20}', b"\xff"]
    too_long = request(for_s=86_400)
    assert asked.due([*(Received(WATCH, payload, None, 0, 0) for payload in wrong), too_long], 0.0) == {}
    assert asked.refused == len(wrong) + 1


def test_links_that_nobody_watches_any_more_are_forgotten() -> None:
    asked = Watching()
    for number in range(watching._PRUNE_FROM + 10):
        asked.due([request(f"d-{number:012d}")], float(number))
    assert len(asked._asked_s) <= watching._PRUNE_FROM + 2
