"""Card numbers in everything that a device says to the agent: none may be in its spool, its log, or leave it.

What left is looked at behind the broker, where TLS has ended: each message that was delivered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from device_agent.actions import ActionContext, Definition, Finding, check
from device_agent.bootstrap import build
from device_agent.config import load
from device_agent.logs import ScrubbedFormatter
from protocol import codec
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome
from tests.integration.agent.conftest import Site
from tests.protocol.redaction.card_samples import FORMS, generated
from tests.support.card_hunt import leaks, leaks_in_files

pytestmark = pytest.mark.integration

NUMBERS = generated(54, seed=16)
WRITTEN = [FORMS[form] for form in sorted(FORMS)]
PLACE = Parameter(name="place", title=Words("位置", "place"), type=ParamType.INTEGER, minimum=0, maximum=1000)
SELF = '[host]\nkind = "terminal"\nsocket = "nobody.sock"\npoll_s = 0.2\n'


def said(place: int) -> str:
    return f"told {WRITTEN[place % len(WRITTEN)](NUMBERS[place])} just now"


@check("test.says", zh="说", en="says", families=["terminal"], expected_s=0.1, params=[PLACE])
def says(ctx: ActionContext) -> list[Finding]:
    place = int(ctx.params["place"])
    number = NUMBERS[place]
    return [
        Finding(Outcome.PASS, evidence=said(place), item=number, value=number),
        Finding(Outcome.PASS, evidence=number, value=int(number)),
    ]


@check("test.mistaken", zh="错", en="mistaken", families=["terminal"], expected_s=0.1, params=[PLACE])
def mistaken(ctx: ActionContext) -> list[Finding]:
    raise ValueError(said(int(ctx.params["place"])))


def definitions_for(_family: str, _terminal_class: str) -> tuple[Definition, ...]:
    return (says, mistaken)


def test_nothing_that_a_device_says_is_kept_or_sent_whole(make_site: Callable[[str], Site]) -> None:
    site = make_site("gw-card-hunt-1")
    fleet = site.fleet
    agent = build(load(site.config(SELF)), definitions_for)
    log = logging.FileHandler(site.folder / "agent.log", encoding="utf-8")
    log.setFormatter(ScrubbedFormatter())
    logging.getLogger().addHandler(log)
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    site.agents.append((agent, thread))
    try:
        fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
        for place in range(len(NUMBERS)):
            command = fleet.check("test.mistaken" if place % 6 == 5 else "test.says", place=place)
            fleet.send(command)
            fleet.until(lambda: {"SUCCEEDED", "FAILED"} & set(fleet.states(command.execution)), "the check ends")  # noqa: B023 - called at once
        kept = leaks_in_files(NUMBERS, site.folder)
    finally:
        logging.getLogger().removeHandler(log)
        log.close()
    sent = b"\n".join(codec.to_json(one) for one in (*fleet.records.values(), *fleet.hellos, *fleet.capabilities))
    assert b"PAN \xe2\x80\xa6" in sent
    assert leaks(NUMBERS, sent) == []
    assert kept == {}
    assert "[PAN …" in (site.folder / "agent.log").read_text(encoding="utf-8")
