"""The registry is the whole allow-list: what it names exists, what exists is named, and nothing loads unasked."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import device_agent
from device_agent.actions import Definition
from device_agent.drivers.measured import metrics_of
from device_agent.families import ALL, LINK
from device_agent.registry import MODULES, SOFTWARE_MODULES, VALUE_MODULES, definitions_for
from protocol import codec
from protocol.capabilities import Capabilities, DeviceCapabilities
from protocol.catalogue.vocabulary import TerminalClass

AGENT = Path(device_agent.__file__).parent


@pytest.mark.parametrize("module", MODULES)
def test_module_declares_the_families_that_it_is_listed_for(module: str) -> None:
    definition = import_module(module).definition
    assert isinstance(definition, Definition)
    assert definition.families == frozenset(MODULES[module])


def test_every_file_with_a_definition_is_listed() -> None:
    found = {
        f"device_agent.{folder}.{path.stem}"
        for folder in ("checks", "fixes")
        for path in (AGENT / folder).glob("*.py")
        if "definition" in path.read_text(encoding="utf-8") and path.stem != "__init__"
    }
    assert found == set(MODULES) | set(VALUE_MODULES) | set(SOFTWARE_MODULES)


@pytest.mark.parametrize("family", ALL)
def test_names_are_unique_and_every_family_can_be_checked_as_a_whole(family: str) -> None:
    names = [each.declared.name for each in definitions_for(family)]
    assert len(names) == len(set(names))
    assert {"agent.echo", "device.full_check"} <= set(names)


def test_a_link_whose_machine_is_not_looked_at_can_only_be_asked_whether_it_is_there() -> None:
    assert [each.declared.name for each in definitions_for(LINK)] == ["agent.echo"]


@pytest.mark.parametrize("of_class", TerminalClass)
@pytest.mark.parametrize("family", [*ALL, LINK])
def test_what_a_device_declares_is_within_the_limits_that_the_server_holds_it_to(
    family: str, of_class: TerminalClass
) -> None:
    actions = [each.declared for each in definitions_for(family, of_class.value)]
    measured = list(metrics_of(family, of_class.value))
    document = Capabilities([DeviceCapabilities("d-0123456789abcdef", family, of_class.value, actions, measured)])
    assert codec.from_json(codec.to_json(document), Capabilities) == document


def test_a_family_nobody_knows_can_do_nothing() -> None:
    assert definitions_for("toaster") == ()


def test_what_is_for_other_families_is_not_loaded() -> None:
    script = (
        "import sys; from device_agent.registry import definitions_for; definitions_for('escpos');"
        "print([name for name in sys.modules if name.startswith(('device_agent.checks.zvt', 'device_agent.fixes'))])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "[]"
