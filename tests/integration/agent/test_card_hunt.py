"""Card numbers in everything that a device says to the agent: none may be in its spool, its log, or leave it.

What left is looked at on the wire, where a relay ends TLS, and behind the broker: each message that was delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest

from device_agent.actions import ActionContext, Definition, Finding, check
from device_agent.bootstrap import build
from device_agent.config import load
from device_agent.logs import ScrubbedFormatter
from protocol import codec
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome
from protocol.topics import Up
from tests.integration.agent.conftest import Site
from tests.integration.agent.fleet_side import write_config
from tests.protocol.redaction.card_samples import FORMS, generated
from tests.support.broker import Broker
from tests.support.card_hunt import leaks, leaks_in_files
from tests.support.wire_agent import WireAgent, until
from tests.support.wire_tap import tapped

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
    site.folder.mkdir()
    log = logging.FileHandler(site.folder / "agent.log", encoding="utf-8")
    log.setFormatter(ScrubbedFormatter())
    logging.getLogger().addHandler(log)
    try:
        with tapped(site.broker, site.link) as tap:
            run_checks(site, replace(site.broker, port=tap.port))
            kept = leaks_in_files(NUMBERS, site.folder)
            site.stop_agents()
    finally:
        logging.getLogger().removeHandler(log)
        log.close()
    fleet = site.fleet
    sent = b"\n".join(codec.to_json(one) for one in (*fleet.records.values(), *fleet.hellos, *fleet.capabilities))
    wire = bytes(tap.heard["up"])
    assert b"PAN \xe2\x80\xa6" in sent
    assert site.link.encode() in wire
    assert leaks(NUMBERS, sent) == []
    assert leaks(NUMBERS, wire) == []
    assert leaks(NUMBERS, bytes(tap.heard["down"])) == []
    assert kept == {}
    assert "[PAN …" in (site.folder / "agent.log").read_text(encoding="utf-8")


def run_checks(site: Site, broker: Broker) -> None:
    fleet = site.fleet
    agent = build(load(write_config(site.folder, site.link, broker, site.keys, SELF)), definitions_for)
    site.run(agent)
    fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
    for place in range(len(NUMBERS)):
        command = fleet.check("test.mistaken" if place % 6 == 5 else "test.says", place=place)
        fleet.send(command)
        fleet.until(lambda: {"SUCCEEDED", "FAILED"} & set(fleet.states(command.execution)), "the check ends")  # noqa: B023 - called at once


def test_the_hunt_finds_a_number_on_the_wire(make_site: Callable[[str], Site]) -> None:
    site = make_site("gw-card-hunt-2")
    with (
        tapped(site.broker, site.link) as tap,
        closing(WireAgent(replace(site.broker, port=tap.port), site.link)) as link,
    ):
        link.connect()
        link.publish(Up.LIVE, f"told {NUMBERS[0]}".encode())
        until(lambda: leaks(NUMBERS, bytes(tap.heard["up"])) == [NUMBERS[0]], "the number is heard")
