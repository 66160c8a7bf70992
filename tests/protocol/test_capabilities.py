from __future__ import annotations

from protocol import codec
from protocol.capabilities import Action, Capabilities, DeviceCapabilities, digest
from protocol.commands import ActionKind, DangerClass
from protocol.parameters import Words


def test_both_sides_have_the_same_digest_though_one_wrote_a_whole_number_for_a_fraction() -> None:
    look = Action("test.look", ActionKind.CHECK, Words("看", "look"), DangerClass.READS, expected_s=1, timeout_s=10)
    made = Capabilities([DeviceCapabilities("gw-00000001", "host", "kiosk", [look], firmware="1.0")])
    read = codec.from_json(codec.to_json(made), Capabilities)
    assert isinstance(read, Capabilities)
    assert digest(read) == digest(made)
    changed = Capabilities([DeviceCapabilities("gw-00000001", "host", "kiosk", [look], firmware="1.1")])
    assert digest(changed) != digest(made)
