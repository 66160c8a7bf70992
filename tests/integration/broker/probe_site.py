"""An installation with its own broker, and the means to edit the broker's files by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet_server.broker.probe.casting import own_cast
from fleet_server.broker.probe.client import Place
from fleet_server.broker.probe.report import QUESTIONS, Line
from fleet_server.broker.probe.stage import Cast, asked
from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from tests.support.broker import Broker, running_broker

# On loopback, what must not come would come at once.
PATIENCE = 0.3


@dataclass(slots=True)
class ProbeSite:
    data: Path
    broker: Broker
    cast: Cast

    @property
    def place(self) -> Place:
        return Place(self.broker.host, self.broker.port, tls=True)

    def ask(self, code: str) -> Line:
        question = next(one for one in QUESTIONS if one.code == code)
        return Line(question, asked(question, self.place, self.cast, PATIENCE))

    @contextmanager
    def edited(self, name: str, *edits: tuple[str, str]) -> Iterator[None]:
        """With the broker started anew on it, and as it was afterwards."""
        path = self.broker.configuration.with_name(name)
        before = after = path.read_text("utf-8")
        for old, new in edits:
            assert old in after
            after = after.replace(old, new)
        path.write_text(after, "utf-8")
        try:
            self.broker.restart()
            yield
        finally:
            path.write_text(before, "utf-8")
            self.broker.restart()


@contextmanager
def probe_site(data: Path) -> Iterator[ProbeSite]:
    with running_broker(data / "server") as broker:
        ensure_settings(data, Wishes(mqtt_port=broker.port))
        yield ProbeSite(data, broker, own_cast(data))
