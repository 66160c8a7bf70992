"""Everything this agent can do, by name of module: the whole allow-list, and nothing that is found by looking around.

Modules are imported when the first device of a family they are for asks, so an agent without a modem never loads what
is for modems.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from device_agent.actions import Definition
from device_agent.families import ALL, ESCPOS, HOST, LINK, MODEM, TERMINAL, ZVT
from device_agent.settable_values import STANDARD_VALUES, SettableValue
from protocol.catalogue.vocabulary import TerminalClass

if TYPE_CHECKING:
    from device_agent.software.keeper import SoftwareKeeper

# Module -> families. That the declaration says the same is tested.
MODULES: dict[str, tuple[str, ...]] = {
    "device_agent.checks.agent_echo": (*ALL, LINK),
    "device_agent.checks.device_full_check": ALL,
    "device_agent.checks.net_path": (HOST, TERMINAL),
    "device_agent.checks.clock_read": (HOST, TERMINAL),
    "device_agent.checks.storage_read": (HOST, TERMINAL),
    "device_agent.checks.storage_health": (TERMINAL,),
    "device_agent.checks.memory_read": (HOST, TERMINAL),
    "device_agent.checks.cert_expiry": (HOST, TERMINAL),
    "device_agent.checks.line_statistics": (ZVT, ESCPOS, MODEM),
    "device_agent.checks.printer_status": (ESCPOS, TERMINAL),
    "device_agent.checks.zvt_status": (ZVT,),
    "device_agent.checks.zvt_diagnosis": (ZVT,),
    "device_agent.checks.zvt_initialised": (ZVT,),
    "device_agent.checks.modem_registration": (MODEM, TERMINAL),
    "device_agent.checks.modem_signal": (MODEM, TERMINAL),
    "device_agent.checks.modem_sim": (MODEM, TERMINAL),
    "device_agent.checks.app_alive": (TERMINAL,),
    "device_agent.checks.app_log_tail": (TERMINAL,),
    "device_agent.checks.app_trading": (TERMINAL,),
    "device_agent.checks.queue_status": (TERMINAL,),
    "device_agent.checks.sign_in_status": (TERMINAL,),
    "device_agent.checks.batch_status": (TERMINAL,),
    "device_agent.checks.power_read": (TERMINAL,),
    "device_agent.checks.ped_status": (TERMINAL,),
    "device_agent.checks.reader_status": (TERMINAL,),
    "device_agent.checks.device_stability": (TERMINAL,),
    "device_agent.checks.net_link": (TERMINAL,),
    "device_agent.checks.printer_print_test": (ESCPOS, TERMINAL),
    "device_agent.checks.modem_network_scan": (MODEM, TERMINAL),
    "device_agent.checks.zvt_print_configuration": (ZVT,),
    "device_agent.checks.line_baud_probe": (ZVT, ESCPOS, MODEM),
    "device_agent.checks.app_sign_in": (TERMINAL,),
    "device_agent.fixes.app_restart": (TERMINAL,),
    "device_agent.fixes.sign_in_renew": (TERMINAL,),
    "device_agent.fixes.queue_send": (TERMINAL,),
    "device_agent.fixes.batch_settle": (TERMINAL,),
    "device_agent.fixes.logs_purge": (TERMINAL,),
    "device_agent.fixes.clock_sync": (TERMINAL,),
    "device_agent.fixes.modem_reregister": (MODEM, TERMINAL),
    "device_agent.fixes.device_reboot": (TERMINAL,),
    "device_agent.fixes.zvt_initialise": (ZVT,),
}
# Made for the values that this terminal's configuration declares.
VALUE_MODULES = ("device_agent.checks.config_read", "device_agent.fixes.config_apply")
# Made for the keeper of software, where there is a server to fetch from.
SOFTWARE_MODULES: dict[str, tuple[str, ...]] = {
    "device_agent.checks.software_fetch": (*ALL, LINK),
    "device_agent.checks.software_version": (TERMINAL,),
    "device_agent.fixes.software_install": (TERMINAL,),
}
# A class without the part is not offered what is about it.
_PRINTERLESS = frozenset({TerminalClass.E_SIGN.value})
_ABOUT_PRINTERS = frozenset({"printer.status", "printer.print_test"})


@cache
def definitions_for(
    family: str, terminal_class: str | None = None, values: tuple[SettableValue, ...] = STANDARD_VALUES
) -> tuple[Definition, ...]:
    """What a device of this family can be asked and told. Empty for a family that is not known."""
    found = [_definition(module) for module, families in MODULES.items() if family in families]
    if family == TERMINAL:
        found += [import_module(module).definition_for(values) for module in VALUE_MODULES]
    has_printer = family != TERMINAL or terminal_class not in _PRINTERLESS
    return tuple(each for each in found if has_printer or each.declared.name not in _ABOUT_PRINTERS)


def software_definitions(family: str, keeper: SoftwareKeeper) -> tuple[Definition, ...]:
    return tuple(
        import_module(module).definition_for(keeper)
        for module, families in SOFTWARE_MODULES.items()
        if family in families
    )


def _definition(module: str) -> Definition:
    definition = import_module(module).definition
    if not isinstance(definition, Definition):
        raise TypeError(f"{module}.definition: expected a Definition, is {type(definition).__name__}")
    return definition
