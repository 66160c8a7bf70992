"""Holds what the agents say they did against what the database says it has, in the manner of Jepsen. Pure.

Rules, each with its name:

- ``lost``: what an agent's spool kept is there, or lies in a range that the agent declared as given up, by a record or
  in a hello, and the timeline shows it so.
- ``late``: as ``lost``, but the agent was not told either that it is there: its spool has it still to send.
- ``doubled``: nothing is there more often than it was handed to a spool.
- ``invented``: nothing is there that no agent spoke of.
- ``effect``: one raising makes one fault and one event, one clearing one event, one verdict one event.
- ``ack_ahead``: no acknowledgement names more than the contiguous prefix that is there.
- ``watermark``: the server's own mark of a stream is that prefix.
- ``shed_count``: an agent gave up as many records as its declarations say, and each of them says what it covers. A
  database that was set back may lack some of them; then their ranges are declared anew.
- ``refused``: nothing of what real agents say is a dead letter.
- ``open_execution``: every execution has ended.

`check_promises` is the part that also holds in the midst of a run, as long as the database was not set back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from protocol.records import SpoolLost, Tombstone
from tests.chaos.history import History, Standing
from tests.chaos.marks import CLEARED, RAISED, VERDICT

# Of each rule so many are told one by one.
TOLD_EACH = 5


@dataclass(frozen=True, slots=True)
class Row:
    link: str
    stream: str
    seq: int
    mark: str


@dataclass(slots=True)
class Stored:
    """What a database holds. ``told``: events of the timeline as (device, type, what); ``gaps``: ranges that it shows
    as declared, as (link, stream, first, last); ``faults``: by device and code; ``watermarks``: by link and stream.
    """

    rows: list[Row] = field(default_factory=list)
    gaps: list[tuple[str, str, int, int]] = field(default_factory=list)
    tombstones: list[tuple[str, Tombstone]] = field(default_factory=list)
    losses: list[tuple[str, SpoolLost]] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)
    told: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    watermarks: dict[tuple[str, str], int] = field(default_factory=dict)
    open_executions: list[tuple[str, str]] = field(default_factory=list)

    def numbers(self) -> dict[tuple[str, str], set[int]]:
        """Of each stream: what is there or was given up by the agent's own word."""
        found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        for row in self.rows:
            found[row.link, row.stream].add(row.seq)
        for key, given_up in self.given_up().items():
            found[key] |= given_up
        return found

    def given_up(self) -> defaultdict[tuple[str, str], set[int]]:
        """Of each stream: what lies in a range that is shown as declared."""
        found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        for link, stream, first, last in self.gaps:
            found[link, stream] |= set(range(first, last + 1))
        return found


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    link: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule} {self.link}: {self.what}"


@dataclass(slots=True)
class Verdict:
    violations: list[Violation] = field(default_factory=list)
    records: int = 0  # kept by agents
    stored: int = 0
    declared: int = 0  # kept, given up, and declared
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, rule: str, link: str, what: Iterable[str]) -> None:
        for one in what:
            self.counts[rule] += 1
            if self.counts[rule] <= TOLD_EACH:
                self.violations.append(Violation(rule, link, one))


def check(before: Sequence[History], stored: Stored, after: Sequence[History], *, is_set_back: bool = False) -> Verdict:
    """``before``: the agents' accounts from before the database was read, ``after``: from after it. Of drained agents
    that still live nothing else can be compared."""
    verdict = Verdict()
    rows_of: defaultdict[str, list[Row]] = defaultdict(list)
    for row in stored.rows:
        rows_of[row.link].append(row)
    for history in before:
        _check_lost(history, rows_of[history.link], stored, verdict)
        _check_shed(history, stored, verdict, is_set_back=is_set_back)
    for history in after:
        _check_known(history, rows_of[history.link], verdict)
    for link in rows_of.keys() - {history.link for history in after}:
        verdict.add("invented", link, (row.mark for row in rows_of[link]))
    _check_effects(stored, verdict)
    _check_watermarks(stored, verdict)
    verdict.violations += check_promises(before, stored)
    verdict.add("refused", "server", (f"dead letter of {link}: {reason}" for link, reason in stored.dead))
    verdict.add("open_execution", "server", (f"{one} is {state}" for one, state in stored.open_executions))
    verdict.stored = len(stored.rows)
    return verdict


def check_promises(before: Sequence[History], stored: Stored) -> list[Violation]:
    """``before``: the agents' accounts from before the database was read."""
    numbers = stored.numbers()
    found = []
    for history in before:
        for stream, upto in history.acked().items():
            prefix = contiguous(numbers.get((history.link, stream), set()))
            if upto > prefix:
                what = f"stream {stream[:8]} acknowledged up to {upto}, there up to {prefix}"
                found.append(Violation("ack_ahead", history.link, what))
    return found


def contiguous(numbers: set[int]) -> int:
    upto = 0
    while upto + 1 in numbers:
        upto += 1
    return upto


def _check_lost(history: History, rows: Sequence[Row], stored: Stored, verdict: Verdict) -> None:
    there = Counter(row.mark for row in rows)
    given_up = stored.given_up()
    lost_streams = {loss.old_stream for link, loss in stored.losses if link == history.link}
    kept = [intent for intent in history.intents if intent.standing is Standing.KEPT]
    verdict.records += len(kept)
    acked = history.acked()
    missing: list[str] = []
    late: list[str] = []
    # What lies in a declared gap is looked at last: of two with the same words the other one may be the one there.
    for intent in sorted(kept, key=lambda one: one.seq in given_up[history.link, one.stream]):
        if there[intent.mark] > 0:
            there[intent.mark] -= 1
        elif intent.seq in given_up[history.link, intent.stream] or intent.stream in lost_streams:
            verdict.declared += 1
        else:
            is_held = intent.seq > acked.get(intent.stream, intent.seq)
            (late if is_held else missing).append(f"{intent.mark} ({intent.kind} {intent.stream[:8]} {intent.seq})")
    verdict.add("lost", history.link, missing)
    verdict.add("late", history.link, late)


def _check_shed(history: History, stored: Stored, verdict: Verdict, *, is_set_back: bool) -> None:
    """A range may also cover declarations that were given up and said again; those are not counted."""
    kept: defaultdict[str, set[int]] = defaultdict(set)
    for intent in history.intents:
        if intent.standing is Standing.KEPT:
            kept[intent.stream].add(intent.seq)
    # What a kill came between may have been kept as well, under whatever number.
    unknown = sum(intent.standing is Standing.INTENDED for intent in history.intents)
    declared: defaultdict[str, set[int]] = defaultdict(set)
    wrong = []
    for grave in (grave for link, grave in stored.tombstones if link == history.link):
        covered = kept[grave.stream].intersection(range(grave.first_seq, grave.last_seq + 1))
        declared[grave.stream] |= covered
        if not len(covered) <= grave.count <= len(covered) + unknown:
            wrong.append(f"{grave} covers {len(covered)}")
    verdict.add("shed_count", history.link, wrong)
    told, shed = sum(map(len, declared.values())), history.shed()
    if told > shed or (told < shed - unknown and not is_set_back):
        verdict.add("shed_count", history.link, [f"gave up {shed}, declared {told}"])


def _check_known(history: History, rows: Sequence[Row], verdict: Verdict) -> None:
    handed = Counter(intent.mark for intent in history.intents if intent.standing is not Standing.REFUSED)
    handed.update(history.declared)
    for mark, count in Counter(row.mark for row in rows).items():
        if mark not in handed:
            verdict.add("invented", history.link, [mark])
        elif count > handed[mark]:
            verdict.add("doubled", history.link, [f"{mark} is there {count} times, handed over {handed[mark]} times"])


def _check_effects(stored: Stored, verdict: Verdict) -> None:
    event_of = {RAISED: "fault_raised", CLEARED: "fault_cleared", VERDICT: "verdict"}
    expected: Counter[tuple[str, str, str]] = Counter()
    raisings: set[tuple[str, str]] = set()
    for row in stored.rows:
        kind, _, what = row.mark.partition(":")
        if f"{kind}:" in event_of:
            expected[row.link, event_of[f"{kind}:"], what] += 1
            if kind != VERDICT.rstrip(":"):
                raisings.add((row.link, what))
    for key in sorted(expected.keys() | stored.told.keys()):
        if expected[key] != stored.told[key]:
            what = f"{key[1]} of {key[2]} told {stored.told[key]} times, recorded {expected[key]} times"
            verdict.add("effect", key[0], [what])
    for device, code in sorted(raisings | stored.faults.keys()):
        if stored.faults[device, code] != 1:
            verdict.add("effect", device, [f"{stored.faults[device, code]} faults of {code}"])


def _check_watermarks(stored: Stored, verdict: Verdict) -> None:
    numbers = stored.numbers()
    for (link, stream), upto in sorted(stored.watermarks.items()):
        prefix = contiguous(numbers.get((link, stream), set()))
        if upto != prefix:
            verdict.add("watermark", link, [f"stream {stream[:8]} is marked up to {upto}, there up to {prefix}"])
