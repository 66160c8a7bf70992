"""One real server on an invented fleet and one real browser for all tests of this folder.

Nothing is replaced: the program is served by uvicorn on a free port; what devices would report is written through the
same functions as the device door uses, and the hub is told.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page
from sqlalchemy import Engine

from fleet_server import migrate
from fleet_server.app import create_app
from fleet_server.auth.dependencies import passwords
from fleet_server.auth.passwords import Passwords
from fleet_server.databases import Databases
from fleet_server.db import open_engine, transaction
from fleet_server.kit.times import utc_now
from fleet_server.live.hub import LiveHub
from fleet_server.mqtt import Received
from fleet_server.timeline.hub import EventHub, _end
from fleet_server.timeline.writer import NewEvent, append_events
from protocol import codec
from protocol.identifiers import LinkId
from protocol.live import LiveReport
from protocol.signing import SigningKey
from protocol.topics import Up, up
from tests.fleet_server.console.examples import PASSWORD, TENANT, add_examples, add_people
from tests.fleet_server.console.history import add_history
from tests.fleet_server.factories import settings
from tests.support.chromium import PATIENCE_MS
from tests.support.engines import PATIENT_S
from tests.support.signing import local_signer

MAX_STORY = 100
SCREENSHOTS = Path(__file__).parent.parent / "screenshots"


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    engine: Engine
    hub: EventHub
    live: LiveHub

    def say_live(self, link: str, report: LiveReport) -> None:
        """What the broker brings while somebody watches."""
        self.live.on_message(Received(up(LinkId(link), Up.LIVE), codec.to_json(report), None, 0, 0))

    def happen(self, *events: NewEvent, change: Callable[[Any], None] | None = None) -> None:
        """What the device door does: one transaction, then a hint."""
        with transaction(self.engine) as session:
            if change is not None:
                change(session)
                session.flush()
            append_events(session, TENANT, events, utc_now())
        self.hub.notify()

    def end_streams(self) -> None:
        """What a proxy does that has had enough: open streams end, new ones are welcome."""
        loop = self.hub._loop
        assert loop is not None
        loop.call_soon_threadsafe(self._end_streams)

    def _end_streams(self) -> None:
        for queues in self.hub._listeners.values():
            for queue in queues:
                _end(queue)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("console")
    engine = open_engine(f"sqlite:///{folder / 'fleet.db'}")
    migrate.upgrade(engine)
    now = utc_now()
    with transaction(engine) as session:
        add_people(session, now)
        add_examples(session, now)
        add_history(session, now)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    hub, live = EventHub(engine), LiveHub()
    signer = local_signer(SigningKey.from_seed(b"c" * 32), SigningKey.from_seed(b"a" * 32))
    databases = Databases(engine, silent_s=PATIENT_S)
    app = create_app(replace(settings(folder), url=url), engine, None, hub, signer, live, databases)
    app.dependency_overrides[passwords] = Passwords.cheap
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    ends_at = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server stopped while it started"
        assert time.monotonic() < ends_at, "the server did not start within 30 s"
        time.sleep(0.05)
    yield Served(url, engine, hub, live)
    server.should_exit = True
    thread.join(20)
    listening.close()
    engine.dispose()


OpenPage = Callable[..., Page]


class Windows:
    """Pages of people who are signed in; each person signs in once."""

    def __init__(self, browser: Browser, served: Served) -> None:
        self._browser = browser
        self._served = served
        self._states: dict[str, Any] = {}
        self._open: list[BrowserContext] = []
        self.complaints: list[str] = []
        # What pages asked of the server and how that went, for a test that fails.
        self.story: deque[str] = deque(maxlen=MAX_STORY)

    def open(
        self,
        path: str = "/",
        *,
        role: str = "operator",
        language: str = "zh-CN",
        scheme: str = "light",
        width: int = 1360,
        script: bool = True,
    ) -> Page:
        context = self._browser.new_context(
            base_url=self._served.url,
            locale=language,
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": width, "height": 860},
            java_script_enabled=script,
            storage_state=self._states.get(role) if role else None,
        )
        self._open.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        page.on("request", lambda asked: self._tell("asks", asked.url))
        page.on("response", lambda answer: self._tell(str(answer.status), answer.url))
        page.on("requestfailed", lambda asked: self._tell(f"failed ({asked.failure})", asked.url))
        if role and role not in self._states:
            sign_in(page, role)
            self._states[role] = context.storage_state()
        page.goto(path)
        return page

    def close(self) -> None:
        while self._open:
            self._open.pop().close()

    def _tell(self, what: str, url: str) -> None:
        if "/static/" not in url:
            self.story.append(f"{time.monotonic():.3f} {what} {url.removeprefix(self._served.url)}")

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)


def sign_in(page: Page, role: str) -> None:
    page.goto("/sign-in")
    page.fill("#u", role)
    page.fill("#p", PASSWORD)
    page.click("button.pri")
    page.wait_for_selector("#main")


@pytest.fixture(scope="session")
def all_windows(chromium: Browser, served: Served) -> Windows:
    return Windows(chromium, served)


@pytest.fixture
def windows(all_windows: Windows) -> Iterator[Windows]:
    all_windows.complaints.clear()
    all_windows.story.clear()
    yield all_windows
    # Shown when the test has failed.
    print("pages asked:", *all_windows.story, "pages complained:", *all_windows.complaints, sep="\n")  # noqa: T201 - for the report of pytest
    all_windows.close()
