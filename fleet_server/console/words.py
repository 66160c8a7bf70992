"""What a page says for every state and code that the programs know: a shape, a tone, and words.

Invariant: each map is complete over its enumeration, so no page ever shows an internal name. The words are source
texts of the catalogue; `templating` translates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_server.console.language import N_
from protocol.catalogue.vocabulary import Owner
from protocol.commands import ActionKind, ExecutionState, Refusal
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
NOT_NEEDED_CODE = "not_needed"
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
    SafetyCondition.CANNOT_TRADE: N_("The terminal cannot trade."),
}
# Why an execution ended as it did, beyond the refusals: words for codes of the agent and of the server.
REASONS: Mapping[str, str] = {
    **{refusal.value: text for refusal, text in REFUSALS.items()},
    **{condition.value: text for condition, text in SAFETY.items()},
    "consent_wrong": N_("The code was not the right one."),
    "consent_refused": N_("The code was tried wrongly too often. Nothing was changed."),
    "consent_not_given": N_("The shop did not tell the code in time. Nothing was changed."),
    "not_needed": N_("Nothing was wrong, so nothing was changed."),
    "post_check_failed": N_("The check after the fix did not pass, or it did not hold."),
    "timed_out": N_("It took too long."),
    "interrupted": N_("The agent stopped in the middle of it: look at the terminal before asking again."),
    "not_safe_in_time": N_("No safe moment came in time."),
    "unsafe": N_("It would destroy payments that are still pending. Nothing was changed."),
    "device_not_answering": N_("The device does not answer on its line."),
    "action_failed": N_("The device could not do it."),
    "host_unreachable": N_("The acquirer's host does not answer."),
    "not_configured": N_("The device has not been told what this needs."),
    "not_in_time": N_("It did not come about in time."),
    "not_taken": N_("The device does not show the value that it was given."),
    "value_not_allowed": N_("The device does not take this value."),
    "signer_unreachable": N_("The server's signer does not answer: the request waits and is sent when it is back."),
    "signing_stopped": N_("All signing was stopped: nothing is sent to terminals."),
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
# Stable words of the audit; one that is not here is shown as it is, in code.
AUDIT_ACTIONS: Mapping[str, str] = {
    "sign_in": N_("signed in"),
    "sign_in_refused": N_("was refused at the sign-in"),
    "sign_out": N_("signed out"),
    "code_refused": N_("gave a wrong code of the second factor"),
    "second_factor_set": N_("set up a second factor"),
    "second_factor_reset": N_("took away a second factor"),
    "set_up_code_made": N_("made a code for choosing a password"),
    "set_up_refused": N_("was refused when choosing a first password"),
    "password_change_refused": N_("was refused when changing a password"),
    "person_disabled": N_("disabled a person"),
    "person_enabled": N_("let a disabled person in again"),
    "person_unlocked": N_("unlocked a name"),
    "sessions_ended": N_("ended sessions"),
    "oidc_refused": N_("came from the OpenID provider and is linked to nobody"),
    "oidc_linked": N_("linked a person to the OpenID provider"),
    "oidc_unlinked": N_("ended a person's link to the OpenID provider"),
    "people_key_changed": N_("sealed second factors with a new key"),
    "step_up": N_("confirmed who they are"),
    "step_up_refused": N_("was refused when confirming who they are"),
    "person_added": N_("added a person"),
    "password_set": N_("set a password"),
    "role_set": N_("changed a role"),
    "token_issued": N_("issued a token"),
    "token_revoked": N_("revoked a token"),
    "execution_requested": N_("asked for a run"),
    "execution_cancelled": N_("cancelled a run"),
    "execution_approved": N_("approved a run"),
    "execution_refused": N_("refused a run"),
    "consent_given": N_("brought the shop's consent"),
    "break_glass_used": N_("broke the glass for a run"),
    "permit_added": N_("added a shift permit"),
    "permit_withdrawn": N_("withdrew a shift permit"),
    "signing_stop": N_("pulled the emergency stop"),
    "signing_lift": N_("lifted the emergency stop"),
    "policy_imported": N_("imported a policy"),
    "signer_signed": N_("signed a command"),
    "signer_stopped": N_("stopped all signing"),
    "signer_resumed": N_("signs again"),
    "signer_policy": N_("took a policy"),
    "fleet_imported": N_("imported a fleet file"),
    "enrolment_codes_made": N_("made codes for new devices"),
    "enrolment_approved": N_("let a device in"),
    "enrolment_refused": N_("turned a device away"),
    "enrolment_code_withdrawn": N_("withdrew a code"),
    "device_enrolled": N_("enrolled itself with a code"),
    "certificate_renewed": N_("renewed its certificate"),
    "device_retired": N_("took a device out of service"),
    "dead_letters_replayed": N_("played messages again that were not understood"),
    "health_exported": N_("exported readings"),
    "preferences_set": N_("chose language or colours"),
    "audit_read": N_("read who did what"),
    "audit_exported": N_("exported who did what"),
    "audit_found_changed": N_("found that the audit was changed"),
    "audit_anchored": N_("signed the end of the audit"),
    "restored": N_("brought a backup back"),
    "demo_break": N_("broke a simulated device"),
    "demo_mend": N_("mended a simulated device"),
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


def state_shape(state: ExecutionState, kind: ActionKind, code: str = "") -> Shape:
    if kind is ActionKind.FIX:
        if state is ExecutionState.SUCCEEDED:
            return PROVED
        if state is ExecutionState.FAILED:
            return NOT_NEEDED if code == NOT_NEEDED_CODE else NOT_FIXED
    return STATES[state]


def known_state(name: str) -> ExecutionState:
    """A state that this version does not know is one that nobody can vouch for."""
    try:
        return ExecutionState(name)
    except ValueError:
        return ExecutionState.UNKNOWN
