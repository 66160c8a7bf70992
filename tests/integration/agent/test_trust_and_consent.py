"""Keys that change, a stop that is lifted, a merchant who reads six digits out: the running agent on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from device_agent.bootstrap import build
from device_agent.config import load
from protocol import codec
from protocol.catalogue.vocabulary import TerminalClass
from protocol.commands import CONSENT
from protocol.records import SecurityEvent
from protocol.signing import SigningKey, sign
from protocol.stops import STOP_TYPE, StopOrder
from protocol.topics import Down
from simulators.terminal import SimulatedTerminal
from tests.integration.agent.conftest import Site

pytestmark = pytest.mark.integration

SELF = '[host]\nkind = "terminal"\nsocket = "nobody.sock"\npoll_s = 0.2\n'
NEXT = SigningKey.from_seed(b"n" * 32)


def events(site: Site) -> list[str]:
    return [event.code for event in site.fleet.bodies(SecurityEvent)]


def stop(*keys: SigningKey, lifts: bool = False) -> bytes:
    return codec.to_json(sign(STOP_TYPE, codec.to_json(StopOrder("default", 1, 0, lifts)), keys))


def test_new_online_key_is_obeyed_and_the_old_one_is_not_also_after_a_restart(
    make_site: Callable[[str], Site],
) -> None:
    site = make_site("gw-new-key-01")
    fleet, old = site.fleet, site.keys.command
    site.start_agent(SELF)
    fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
    site.keys.command = NEXT
    fleet.publish(Down.TRUST, site.keys.policy(version=2))
    fleet.until(lambda: "policy.accepted" in events(site), "the policy is taken")

    fleet.send(fleet.check("test.quick"), key=old)
    fleet.until(lambda: "command.signature" in events(site), "the old key is refused")
    command = fleet.check("test.quick")
    fleet.send(command)
    fleet.until(lambda: "SUCCEEDED" in fleet.states(command.execution), "the new key is obeyed")

    site.stop_agents()
    fleet.hellos.clear()
    # The bundle's own policy is the old one still.
    site.keys.command = old
    site.start_agent(SELF)
    hello = fleet.until(lambda: fleet.hellos, "the agent greets again")[0]
    assert hello.policy_version == 2


def test_stop_holds_until_an_approver_lifts_it(make_site: Callable[[str], Site], tmp_path: Path) -> None:
    site = make_site("gw-stopped-01")
    fleet = site.fleet
    site.start_agent(SELF)
    fleet.until(lambda: fleet.capabilities, "the capabilities arrive")
    fleet.publish(Down.TRUST, stop(site.keys.command))
    fleet.until(lambda: "stop.in_force" in events(site), "the stop is in force")

    refused = fleet.fix("test.mend", folder=str(tmp_path))
    fleet.send(refused)
    fleet.until(lambda: "REJECTED" in fleet.states(refused.execution), "a fix is refused")
    assert fleet.reports(refused.execution)[-1].code == "stopped"
    look = fleet.check("test.quick")
    fleet.send(look)
    fleet.until(lambda: "SUCCEEDED" in fleet.states(look.execution), "a check runs")

    fleet.publish(Down.TRUST, stop(site.keys.command, lifts=True))
    fleet.until(lambda: "trust.signature" in events(site), "the online key lifts nothing")
    fleet.publish(Down.TRUST, stop(site.keys.approver, lifts=True))
    fleet.until(lambda: "stop.lifted" in events(site), "the stop is lifted")
    allowed = fleet.fix("test.mend", folder=str(tmp_path))
    fleet.send(allowed)
    fleet.until(lambda: "STORED" in fleet.states(allowed.execution), "a fix is taken again")


@pytest.fixture
def terminal() -> Iterator[tuple[SimulatedTerminal, Path]]:
    with TemporaryDirectory(prefix="tm-") as folder:
        path = Path(folder) / "service.sock"
        terminal = SimulatedTerminal(TerminalClass.SMART, seed=7, socket_path=path, trade_every_s=0)
        terminal.start()
        yield terminal, path
        terminal.stop()


def test_fix_runs_when_the_merchant_has_read_out_what_the_terminal_shows(
    make_site: Callable[[str], Site], terminal: tuple[SimulatedTerminal, Path]
) -> None:
    simulated, socket = terminal
    simulated.apply_fault("app_dead")
    site = make_site("gw-consent-001")
    fleet = site.fleet
    config = load(site.config(f'soak_limit_s = 0.1\n[host]\nkind = "terminal"\nsocket = "{socket}"\npoll_s = 0.2\n'))
    site.run(build(config))
    fleet.until(lambda: fleet.capabilities, "the capabilities arrive")

    order = msgspec.structs.replace(
        fleet.fix("app.restart"), authorisation=None, authorisation_sha256=None, consent=True
    )
    fleet.send(order)
    fleet.until(lambda: simulated.memory.shown, "the terminal shows the code")
    fleet.until(lambda: fleet.reports(order.execution)[-1].detail, "the desk sees where")
    assert fleet.states(order.execution)[-1] == "AWAITING_CONSENT"
    digits = simulated.memory.shown[2].replace(" ", "")
    assert not any(digits in codec.to_json(record).decode() for record in fleet.records.values())

    fleet.send(fleet.check(CONSENT, execution=order.execution, code=digits))
    fleet.until(lambda: "SUCCEEDED" in fleet.states(order.execution), "the fix is done")
    assert simulated.faults() == ()
