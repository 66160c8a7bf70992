"""What a page says for every state and code that the programs know: a shape, a tone, and words.

Invariant: each map is complete over its enumeration, so no page ever shows an internal name. The words are source
texts of the catalogue; `templating` translates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_server.console.language import N_
from protocol.catalogue.vocabulary import Owner
from protocol.commands import ActionKind, Refusal
from protocol.executions import CancelAnswer, ExecutionState, Result, result_of
from protocol.parameters import ParamType
from protocol.records import Outcome, Phase, Severity
from protocol.safety import Condition as SafetyCondition


@dataclass(frozen=True, slots=True)
class Shape:
    """``icon`` names a symbol of the sprite, ``tone`` a class of `.st`, ``words`` a source text."""

    icon: str
    tone: str
    words: str


UNKNOWN_SHAPE = Shape("unknown", "calm", N_("Not known"))

CONDITIONS: Mapping[str, Shape] = {
    "faulty": Shape("bad", "bad", N_("Fault")),
    "silent": Shape("silent", "bad", N_("Silent")),
    "watch": Shape("warn", "warn", N_("To watch")),
    "well": Shape("live", "ok calm", N_("Online, well")),
    "off": Shape("off", "calm", N_("Off as usual")),
    "unknown": UNKNOWN_SHAPE,
}
# Without a fault, and yet not as it should be: seen from its readings alone.
DEVIATING = Shape("warn", "warn", N_("Online, readings out of range"))
# The census spells out what the narrow column of the table cannot.
CENSUS_WORDS: Mapping[str, str] = {
    "faulty": N_("With a fault"),
    "silent": N_("Silent while they should trade"),
    "watch": N_("To watch"),
    "well": N_("Online, without a fault"),
    "off": N_("Off as usual"),
    "unknown": N_("Not known"),
}
PRESENCES: Mapping[str, Shape] = {
    "online": Shape("live", "ok", N_("Online")),
    "offline": Shape("off", "calm", N_("Offline")),
    "silent": Shape("unknown", "calm", N_("Nothing is heard of it")),  # in the timeline, where no habit is looked at
    "unknown": UNKNOWN_SHAPE,
}
STATES: Mapping[ExecutionState, Shape] = {
    ExecutionState.DRAFT: Shape("todo", "calm", N_("Being prepared")),
    ExecutionState.AWAITING_APPROVAL: Shape("two", "warn", N_("Waits for approval")),
    ExecutionState.QUEUED: Shape("queue", "calm", N_("Queued")),
    ExecutionState.PUBLISHED: Shape("go", "calm", N_("Sent")),
    ExecutionState.STORED: Shape("lock", "calm", N_("Stored by the terminal")),
    ExecutionState.AWAITING_CONSENT: Shape("user", "warn", N_("Waits for the shop's consent")),
    ExecutionState.WAITING_SAFE: Shape("wait", "warn", N_("Waits for a safe moment")),
    ExecutionState.RUNNING: Shape("run", "go", N_("Running")),
    ExecutionState.VERIFYING: Shape("run", "go", N_("Checking the result")),
    ExecutionState.SUCCEEDED: Shape("ok", "ok", N_("Done")),
    ExecutionState.FAILED: Shape("bad", "bad", N_("Failed")),
    ExecutionState.ROLLED_BACK: Shape("back", "warn", N_("Put back as it was")),
    ExecutionState.REJECTED: Shape("stop", "calm", N_("Refused by the terminal")),
    ExecutionState.EXPIRED: Shape("queue", "calm", N_("Expired before it was delivered")),
    ExecutionState.UNREACHABLE: Shape("silent", "bad", N_("Terminal could not be reached")),
    ExecutionState.TIMED_OUT: Shape("bad", "bad", N_("No answer in time")),
    ExecutionState.CANCELLED: Shape("stop", "calm", N_("Cancelled")),
    ExecutionState.SUPERSEDED: Shape("stop", "calm", N_("Replaced by a newer request")),
    ExecutionState.UNKNOWN: Shape("unknown", "warn", N_("Result unclear, needs a person")),
    ExecutionState.INCONSISTENT: Shape("warn", "warn", N_("Terminal and server disagree")),
}
# A fix that succeeded was proved by its post-check; a check or test merely ran.
PROVED = Shape("proof", "ok", N_("Proved"))
NOT_FIXED = Shape("bad", "bad", N_("Not fixed"))
# A fix whose check before found nothing wrong was not run, which is no failure of anything.
NOT_NEEDED = Shape("stop", "calm", N_("Not needed"))
CAME_BACK = Shape("back", "bad", N_("Came back"))
NOT_TOLD = Shape("unknown", "warn", N_("Could not be told whether it helped"))
# How a fix that ran to its end is called; other ends go by the name of their state.
FIX_RESULTS: Mapping[Result, Shape] = {
    Result.FIXED: PROVED,
    Result.NOT_FIXED: NOT_FIXED,
    Result.CAME_BACK: CAME_BACK,
    Result.NOT_TOLD: NOT_TOLD,
    Result.NOT_NEEDED: NOT_NEEDED,
}
CANCEL_ANSWERS: Mapping[CancelAnswer, str] = {
    CancelAnswer.REFUSED: N_("The terminal could not stop it any more: its last step was running or done."),
    CancelAnswer.AFTER_STEP: N_("The terminal stops it after the present step."),
}
OUTCOMES: Mapping[Outcome, Shape] = {
    Outcome.PASS: Shape("ok", "ok", N_("Passed")),
    Outcome.WARN: Shape("warn", "warn", N_("To watch")),
    Outcome.FAIL: Shape("bad", "bad", N_("Out of order")),
    Outcome.ERROR: Shape("unknown", "warn", N_("Could not be told")),
    Outcome.UNSUPPORTED: Shape("stop", "calm", N_("Not possible on this device")),
}
PHASES: Mapping[Phase, str] = {
    Phase.RESULT: N_("Result"),
    Phase.PRE_CHECK: N_("Check before"),
    Phase.POST_CHECK: N_("Check after"),
    Phase.LATER: N_("Check later"),
}
SEVERITIES: Mapping[Severity, Shape] = {
    Severity.INFO: Shape("note", "calm", N_("For information")),
    Severity.MINOR: Shape("warn", "warn", N_("To watch")),
    Severity.MAJOR: Shape("bad", "bad", N_("Serious")),
    Severity.CRITICAL: Shape("bad", "bad", N_("Critical")),
}
OWNERS: Mapping[Owner, tuple[str, str]] = {
    Owner.DEVICE: ("o-device", N_("Device")),
    Owner.NETWORK: ("o-net", N_("Network")),
    Owner.ACQUIRER: ("o-acq", N_("Acquirer")),
    Owner.CARDHOLDER: ("o-card", N_("Cardholder")),
    Owner.MERCHANT: ("o-site", N_("Merchant")),
    Owner.NONE: ("todo", N_("Nobody")),
}
KINDS: Mapping[ActionKind, tuple[str, str, str]] = {
    ActionKind.CHECK: ("read", N_("Check"), N_("reads only")),
    ActionKind.TEST: ("play", N_("Test"), N_("visible at the terminal")),
    ActionKind.FIX: ("wrench", N_("Fix"), N_("changes the device")),
}
CLASS_TWO_WORDS = N_("needs two people")
REFUSALS: Mapping[Refusal, str] = {
    Refusal.TOO_LARGE: N_("The request was too large."),
    Refusal.NOT_DECODABLE: N_("The terminal could not read the request."),
    Refusal.SIGNATURE: N_("The terminal does not trust the signature."),
    Refusal.AUDIENCE: N_("The request was meant for another terminal."),
    Refusal.UNKNOWN_ACTION: N_("The terminal does not know this action."),
    Refusal.REPLAYED: N_("The terminal has seen this request before."),
    Refusal.SESSION_NONCE: N_("The terminal has connected again since; ask once more."),
    Refusal.TOO_LATE: N_("The request came too late."),
    Refusal.PARAMETERS: N_("The terminal does not accept these values."),
    Refusal.SWITCHED_OFF: N_("Actions of this class are switched off on the terminal."),
    Refusal.STOPPED: N_("An emergency stop is in force on the terminal."),
    Refusal.CONSENT_UNAVAILABLE: N_("The terminal cannot ask the shop for its consent now."),
    Refusal.AUTHORISATION_MISSING: N_("The approval is missing."),
    Refusal.AUTHORISATION_SIGNATURES: N_("The approval is not signed by enough people."),
    Refusal.REQUESTER: N_("Whoever asks may not approve it, and must be named."),
    Refusal.AUTHORISATION_SCOPE: N_("The approval is for something else."),
    Refusal.AUTHORISATION_TIME: N_("The approval is not valid at this time."),
    Refusal.AUTHORISATION_USED_UP: N_("The approval is used up."),
    Refusal.ARTIFACT: N_("The software that was approved does not lie on the terminal."),
}
SAFETY: Mapping[SafetyCondition, str] = {
    SafetyCondition.TRANSACTION_RUNNING: N_("A payment is running."),
    SafetyCondition.BATCH_OPEN: N_("The batch is not settled."),
    SafetyCondition.PAYMENTS_UNSENT: N_("Payments have not been sent yet."),
    SafetyCondition.REVERSALS_PENDING: N_("A reversal is pending."),
    SafetyCondition.OUTSIDE_WINDOW: N_("Outside the maintenance window."),
    SafetyCondition.BATTERY_LOW: N_("The battery is low."),
    SafetyCondition.DATA_BUDGET_SPENT: N_("This month's mobile data is used up."),
    SafetyCondition.CANNOT_TRADE: N_("The terminal cannot trade."),
}
# What may be set aside to begin a fix.
OVERRIDDEN_RULES: Mapping[str, str] = {
    **{condition.value: text for condition, text in SAFETY.items()},
    "pre_check": N_("The check before the fix found nothing wrong."),
}
# Why an execution ended as it did, beyond the refusals: words for codes of the agent and of the server.
REASONS: Mapping[str, str] = {
    **{refusal.value: text for refusal, text in REFUSALS.items()},
    **{condition.value: text for condition, text in SAFETY.items()},
    "consent_wrong": N_("The code was not the right one."),
    "consent_refused": N_("The code was tried wrongly too often. Nothing was changed."),
    "consent_not_given": N_("The shop did not tell the code in time. Nothing was changed."),
    "not_needed": N_("Nothing was wrong, so nothing was changed."),
    "post_check_failed": N_("The check after the fix did not pass."),
    "post_check_error": N_("The check after the fix could not be done: nobody can say whether it helped."),
    "came_back": N_("It was gone for a while and came back."),
    "other_device": N_("Another device answers on this line than before: what was mended cannot be told."),
    "stopped_between_steps": N_("It was stopped between two steps; what was done stays done."),
    "superseded": N_("A newer request took its place before it was sent."),
    "device_retired": N_("The device was taken out of service; nobody will answer."),
    "cancel_not_answered": N_("The device answered neither the request nor the wish to end it."),
    "queue_expired": N_("The device was not online in time. Nothing was done."),
    "timed_out": N_("It took too long."),
    "interrupted": N_("The agent stopped in the middle of it: look at the terminal before asking again."),
    "not_restarted": N_("It was interrupted, and the device did not restart."),
    "not_safe_in_time": N_("No safe moment came in time."),
    "unsafe": N_("It would destroy payments that are still pending. Nothing was changed."),
    "device_not_answering": N_("The device does not answer on its line."),
    "action_failed": N_("The device could not do it."),
    "host_unreachable": N_("The acquirer's host does not answer."),
    "not_settled": N_("The acquirer did not settle the batch. The journal is as it was."),
    "queue_not_sent": N_("What waits to be sent does not go, so the batch was not settled."),
    "sign_in_not_approved": N_("The acquirer did not approve the sign-in."),
    "not_configured": N_("The device has not been told what this needs."),
    "not_in_time": N_("It did not come about in time."),
    "not_taken": N_("The device does not show the value that it was given."),
    "value_not_allowed": N_("The device does not take this value."),
    "signer_unreachable": N_("The server's signer does not answer: the request waits and is sent when it is back."),
    "signing_stopped": N_("All signing was stopped: nothing is sent to terminals."),
    "freeze_in_force": N_("A freeze is in force: the request waits until it ends, as long as it may wait."),
    "signing_cap_reached": N_("Too many commands were sent in the last hour: the request waits."),
    "approval_refused": N_("An approver refused it."),
    "class_not_signed": N_("Nobody has allowed it."),
    "authorisation_refused": N_("What was allowed does not cover it."),
    "clock_went_back": N_("The server's clock is wrong: nothing is signed."),
    "cancelled": N_("Cancelled before it began."),
    "not_answered_in_time": N_("The device did not answer in time."),
    "no_word_in_stored": N_("The device stored the request and was not heard of again."),
    "no_word_in_running": N_("The device began and was not heard of again."),
    "no_word_in_verifying": N_("The device was not heard of again while it checked the result."),
    "no_word_in_waiting_safe": N_("No safe moment came in time."),
    "no_word_in_awaiting_consent": N_("The shop did not answer in time."),
    "simulators_not_running": N_("The simulators are not running."),
    "simulators_no_answer": N_("The simulators did not answer."),
    "busy": N_("It has too much to do just now; try again."),
    "no_answer": N_("The simulators did not answer."),
    "unknown_fault": N_("This device has no such fault."),
    "unknown_device": N_("The simulators know no such device."),
}
# Plain names that devices give to parts of a check; others are shown as they came.
ITEMS: Mapping[str, str] = {
    "app": N_("Payment application"),
    "dns": N_("Name resolution"),
    "frames": N_("Frames"),
    "logs": N_("Logs"),
    "networks": N_("Networks found"),
    "print": N_("Print"),
    "printer": N_("Printer"),
    "report": N_("Report"),
    "sign-in": N_("Signing in at the acquirer"),
    "speed": N_("Line speed"),
    "tcp": N_("Connection to the host"),
    "tls": N_("Secure connection"),
    "oldest waiting": N_("Longest wait"),
    "waiting": N_("Waiting to be sent"),
}
# What devices say in a word where there is no metric that has words for it.
VALUES: Mapping[str, str] = {
    "ok": N_("in order"),
}
SILENT_SAY = N_(
    "Please look whether the machine is switched on and its plug is in. If it is on, switch it off and on once and "
    "tell me what the screen shows."
)
PARAM_TYPES: Mapping[ParamType, str] = {
    ParamType.INTEGER: N_("whole number"),
    ParamType.NUMBER: N_("number"),
    ParamType.TEXT: N_("text"),
    ParamType.CHOICE: N_("choice"),
    ParamType.SWITCH: N_("yes or no"),
}
ROLES: Mapping[str, str] = {
    "viewer": N_("Viewer"),
    "technician": N_("Technician"),
    "support": N_("Support"),
    "approver": N_("Approver"),
    "tenant_admin": N_("Tenant administrator"),
    "auditor": N_("Auditor"),
    "operator": N_("Operator"),
}
WEAKNESSES: Mapping[str, str] = {
    "too_short": N_("A password has at least 12 characters. Nothing was changed."),
    "too_long": N_("A password has at most 256 characters. Nothing was changed."),
    "guessable": N_("This password is among the first that somebody would guess. Take another. Nothing was changed."),
    "not_twice": N_("The two new passwords differ. Nothing was changed."),
}
DEVICE_KINDS: Mapping[str, str] = {
    "terminal": N_("Terminal"),
    "gateway": N_("Gateway"),
    "attached": N_("Attached device"),
}
# Words for the stable reasons; an agent may give others, which stay in the record and are not shown.
PRESENCE_REASONS: Mapping[str, str] = {
    "connected": N_("it connected"),
    "stopped": N_("its agent was stopped"),
    "connection lost": N_("the connection broke"),
    "not_heard": N_("nothing heard in time"),
    "gateway": N_("its gateway is offline"),
    "line": N_("it does not answer on its line"),
}
DEAD_LETTER_REASONS: Mapping[str, str] = {
    "topic": N_("came on an unknown topic"),
    "content_type": N_("is of an unknown content type"),
    "payload_type": N_("is of an unknown kind"),
    "too_large": N_("was too large"),
    "not_inflatable": N_("could not be unpacked"),
    "not_decodable": N_("could not be read"),
    "signature": N_("has no valid signature"),
    "foreign_device": N_("speaks for a device of another link"),
    "sequence": N_("has numbers that do not fit"),
    "wrong_stream": N_("came on the wrong stream"),
    "columns": N_("has columns of different lengths"),
    "number": N_("has a number that cannot be"),
    "nul": N_("has a zero byte in a text"),
    "unprocessable": N_("could not be stored"),
}


def state_shape(state: ExecutionState, kind: ActionKind, code: str = "", *, came_back: bool = False) -> Shape:
    if kind is ActionKind.FIX and (state is ExecutionState.SUCCEEDED or state is ExecutionState.FAILED):
        result = result_of(kind, state, code, came_back=came_back)
        return STATES[state] if result is None else FIX_RESULTS.get(result, STATES[state])
    return STATES[state]


def known_state(name: str) -> ExecutionState:
    """A state that this version does not know is one that nobody can vouch for."""
    try:
        return ExecutionState(name)
    except ValueError:
        return ExecutionState.UNKNOWN
