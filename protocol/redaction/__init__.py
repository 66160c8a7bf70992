"""Keeps card data out of everything that is stored or sent: PAN, tracks, PIN, CVV, keys, payment codes.

Used at the agent before the spool and again at ingest. A number becomes `[PAN …1234]`; tracks, PIN, CVV and keys are
dropped whole. Pure Python, linear in the text, never raises on any text, and scrubbing twice changes nothing more.
When in doubt it masks: a masked order number costs little, a leaked card number is a breach.
"""

from __future__ import annotations

from protocol.redaction.allowed_fields import IdentifierField, pass_identifier
from protocol.redaction.card_numbers import SMALLEST_CARD_NUMBER, is_card_value
from protocol.redaction.findings import Hit, HitKind, Scrubbed
from protocol.redaction.scrubber import scrub
from protocol.redaction.stream import StreamScrubber
from protocol.redaction.structured import scrub_json

__all__ = [
    "SMALLEST_CARD_NUMBER",
    "Hit",
    "HitKind",
    "IdentifierField",
    "Scrubbed",
    "StreamScrubber",
    "is_card_value",
    "pass_identifier",
    "scrub",
    "scrub_json",
]
