"""What is known of a modem, its readings under the catalogue's metric ids, and the faults these facts mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from device_agent.drivers.modem.replies import Registration, RegistrationState, Sim
from device_agent.drivers.results import FaultSign, Reading

if TYPE_CHECKING:
    from protocol.safety import Condition

# The data context of a terminal's SIM; others (IMS) are the modem's own business.
CONTEXT = 1
# s_rsrp_low and s_sinr_low of the fault model; CSQ 5 is -103 dBm, where data links of terminals begin to drop.
WEAK_RSRP_DBM = -112.0
WEAK_CSQ = 5


@dataclass(frozen=True, slots=True)
class ModemState:
    """None: not known or not asked."""

    sim: Sim | None = None
    sim_error: int | None = None
    registration: Registration | None = None
    csq: int | None = None
    rsrp_dbm: float | None = None
    rsrq_db: float | None = None
    sinr_db: float | None = None
    is_attached: bool | None = None
    is_context_active: bool | None = None
    apn: str | None = None
    imei: str | None = None
    iccid: str | None = None
    operator: str | None = None
    conditions: frozenset[Condition] = frozenset()

    def with_values(self, **values: Any) -> ModemState:
        return replace(self, **values)


def readings_of(state: ModemState) -> dict[str, Reading]:
    registration = state.registration
    found: dict[str, Reading | None] = {
        "modem.sim_state": None if state.sim in {None, Sim.BUSY} else _value(state.sim),
        "modem.reg_stat": None if registration is None else registration.stat,
        "modem.cell_id": None if registration is None else registration.cell_id,
        "net.type": None if registration is None or not registration.is_registered else registration.access,
        "modem.csq": state.csq,
        "modem.rsrp_dbm": state.rsrp_dbm,
        "modem.rsrq_db": state.rsrq_db,
        "modem.sinr_db": state.sinr_db,
        "modem.attach": state.is_attached,
        "modem.pdp_active": state.is_context_active,
        "modem.apn": state.apn,
        "modem.imei": state.imei,
        "modem.iccid": state.iccid,
    }
    return {name: value for name, value in found.items() if value is not None}


def faults_of(state: ModemState) -> tuple[FaultSign, ...]:
    """Causes before consequences; which hides which is the catalogue's."""
    found = []
    if state.sim_error is not None and state.sim is not Sim.BUSY:
        found.append(FaultSign(f"cme.{state.sim_error}", f"AT+CPIN?: {_value(state.sim)}"))
    registration = state.registration
    if registration is not None:
        evidence = f"AT+CEREG?: stat {registration.stat}"
        if registration.stat == RegistrationState.DENIED:
            found.append(FaultSign("term.NET_REG_DENIED", evidence))
        elif registration.stat in {RegistrationState.IDLE, RegistrationState.SEARCHING}:
            found.append(FaultSign("agent.MODEM_NOT_REGISTERED", evidence))
    if state.is_context_active is False:
        found.append(FaultSign("term.NET_NO_PDP", f"AT+CGACT?: context {CONTEXT} down"))
    is_weak = (state.csq is not None and state.csq <= WEAK_CSQ) or (
        state.rsrp_dbm is not None and state.rsrp_dbm < WEAK_RSRP_DBM
    )
    if is_weak:
        found.append(FaultSign("term.NET_WEAK", f"CSQ {state.csq}, RSRP {state.rsrp_dbm} dBm"))
    return tuple(found)


def _value(sim: Sim | None) -> str:
    return "unknown" if sim is None else sim.value
