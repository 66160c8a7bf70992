"""Words for inspections, complete over their enumerations."""

from __future__ import annotations

from collections.abc import Mapping

from fleet_server.console.language import N_
from fleet_server.console.words import OUTCOMES, Shape
from fleet_server.inspections.plans import Missed, PlanState, TurnState
from protocol.records import Outcome

PLAN_STATES: Mapping[PlanState, Shape] = {
    PlanState.ACTIVE: Shape("live", "ok", N_("Active")),
    PlanState.PAUSED: Shape("wait", "warn", N_("Paused")),
    PlanState.ENDED: Shape("stop", "calm", N_("Ended")),
}
TURN_STATES: Mapping[TurnState, Shape] = {
    TurnState.WAITING: Shape("wait", "calm", N_("Waits for its moment")),
    TurnState.ASKED: Shape("go", "calm", N_("Asked")),
    TurnState.DONE: Shape("ok", "calm", N_("Done")),
    TurnState.MISSED: Shape("silent", "warn", N_("Missed")),
}
MISSED: Mapping[Missed, str] = {
    Missed.OFFLINE: N_("was offline"),
    Missed.NO_ANSWER: N_("did not answer"),
    Missed.SERVER_AWAY: N_("the server was not there"),
    Missed.RETIRED: N_("was taken out of service"),
    Missed.UNKNOWN: N_("has not said what it can do"),
    Missed.PAUSED: N_("the inspection was paused"),
    Missed.FREEZE: N_("a freeze was in force"),
    Missed.SUSPENDED: N_("the tenant was suspended"),
}
NO_RESULT = Shape("silent", "warn", N_("No result"))
RESULTS: Mapping[str, Shape] = {outcome.value: shape for outcome, shape in OUTCOMES.items()}
DAYS: Mapping[int, str] = {
    1: N_("Mon"),
    2: N_("Tue"),
    3: N_("Wed"),
    4: N_("Thu"),
    5: N_("Fri"),
    6: N_("Sat"),
    7: N_("Sun"),
}
KINDS_OF_DEVICE: Mapping[str, str] = {
    "terminal": N_("Terminals"),
    "gateway": N_("Gateways"),
    "attached": N_("Attached devices"),
}


def shape_of_turn(state: str, outcome: str) -> Shape:
    """What came of it where something did, else where it stands."""
    if state == TurnState.DONE and outcome:
        return OUTCOMES[Outcome(outcome)]
    return TURN_STATES[TurnState(state)]


def shape_of_check(outcome: str | None) -> Shape:
    if outcome is None:
        return TURN_STATES[TurnState.ASKED]
    return RESULTS.get(outcome, NO_RESULT)
