from __future__ import annotations

from device_agent.core.records import RecordMaker
from protocol.identifiers import DeviceId
from protocol.records import HealthColumns, Outcome, Sample, Verdict
from tests.device_agent.core.rig import at


def test_card_number_among_samples_is_not_measured_and_never_reaches_the_store() -> None:
    maker = RecordMaker("b" * 32)
    columns: dict[str, list[Sample]] = {"a.b": ["4111111111111111", 4111111111111111, 1764300000000, 3.5, None]}
    (made,) = maker.spooled(DeviceId("d-terminal0000001"), HealthColumns(1, 1000, 5, columns), at(1.0))
    assert b"4111111111111111" not in made.payload
    verdict = Verdict("a.b", Outcome.PASS, item="4111111111111111", value=4111111111111111, unit="4111 1111 1111 1111")
    (made,) = maker.spooled(DeviceId("d-terminal0000001"), verdict, at(1.0))
    assert b"4111111111111111" not in made.payload
    assert b"4111 1111" not in made.payload
    assert maker.scrub_hits == 5


def test_an_identifier_that_a_driver_asked_for_stays_and_a_card_number_in_its_place_does_not() -> None:
    maker = RecordMaker("b" * 32)
    columns: dict[str, list[Sample]] = {
        "modem.imei": ["356938035643809", "4111111111111111"],
        "modem.iccid": ["8986012345678901234", "6222020000000007"],
    }
    (made,) = maker.spooled(DeviceId("d-terminal0000001"), HealthColumns(1, 1000, 2, columns), at(1.0))
    assert b"356938035643809" in made.payload
    assert b"8986012345678901234" in made.payload
    assert b"4111111111111111" not in made.payload
    assert b"6222020000000007" not in made.payload
