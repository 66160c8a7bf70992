"""An installation whose every field has been filled, by the doors through which others fill them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.integration.hostile.callers import Callers
from tests.integration.hostile.fields import all_fields
from tests.integration.hostile.installation import Installation, running_installation
from tests.integration.hostile.wire import Speaker
from tests.integration.hostile.words import Planted, marks_in
from tests.integration.test_card_hunt import rows_of
from tests.support.broker import running_broker
from tests.support.wire_agent import WireAgent, until

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Seeded:
    """``let_in``: by the field's name."""

    site: Installation
    planted: Planted
    let_in: dict[str, bool]
    speaker: Speaker
    answers: list[httpx2.Response]


@contextmanager
def seeded_installation(folder: Path, planted: Planted) -> Iterator[Seeded]:
    """``planted``: what is said in each field. It goes on running, and its link stays connected."""
    fields = all_fields()
    with ExitStack() as opened:
        broker = opened.enter_context(running_broker(folder / "b"))
        site = opened.enter_context(running_installation(broker, folder))
        link = opened.enter_context(closing(WireAgent(broker, site.link)))
        ask = opened.enter_context(closing(site.client()))
        speaker = Speaker(link, planted, fields)
        speaker.introduce()
        speaker.speak()
        until(lambda: is_marked(ask, site.link), "what it declares is known", PATIENCE_S)
        callers = opened.enter_context(Callers(site, planted))
        let_in = callers.plant([field for field in fields if field.door != "device"])
        until(lambda: "FAILED" in ask.get("/api/v1/executions").text, "a run has failed", PATIENCE_S)
        let_in |= {name: True for name in planted.fields.values() if name not in let_in}
        let_in |= {field.name: False for field in speaker.say_what_must_be_refused()}
        speaker.leave()
        left = planted.marks_of("up/presence reason")[0]
        until(lambda: left in marks_kept(site), "it has left", PATIENCE_S)
        yield Seeded(site, planted, let_in, speaker, callers.answers)


def is_marked(ask: httpx2.Client, device: str) -> bool:
    return bool(marks_in(ask.get(f"/api/v1/devices/{device}").text))


def marks_kept(site: Installation) -> set[str]:
    return marks_in(rows_of(site.engine).decode("utf-8", "surrogateescape"))
