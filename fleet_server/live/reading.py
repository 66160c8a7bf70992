"""A live report, parsed once: typed, bounded and scrubbed of card data, or why it is not one. Never raises."""

from __future__ import annotations

import msgspec

from fleet_server.mqtt import Received
from protocol import codec
from protocol.errors import Malformed
from protocol.live import LiveProgress, LiveReport
from protocol.records import Sample
from protocol.redaction import scrub

# Larger whole numbers fit no double, which pages and programs read them as.
_MAX_WHOLE = 2**63 - 1
_SHORTEST_CARD_TEXT = 8


def read_report(message: Received) -> LiveReport | Malformed:
    report = codec.decode(message.payload, message.content_type, LiveReport)
    if isinstance(report, Malformed):
        return report
    if any(isinstance(sample, int) and abs(sample) > _MAX_WHOLE for sample in report.samples.values()):
        return Malformed("number", "a whole number does not fit eight bytes")
    samples = {name: _clean(sample) for name, sample in report.samples.items()}
    return msgspec.structs.replace(report, samples=samples, progress=[_without_cards(one) for one in report.progress])


def _clean(sample: Sample) -> Sample:
    return scrub(sample).text[:64] if isinstance(sample, str) and len(sample) >= _SHORTEST_CARD_TEXT else sample


def _without_cards(progress: LiveProgress) -> LiveProgress:
    if len(progress.note) < _SHORTEST_CARD_TEXT:
        return progress
    return msgspec.structs.replace(progress, note=scrub(progress.note).text[:160])
