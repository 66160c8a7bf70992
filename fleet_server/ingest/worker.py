"""The ingest worker: one thread that reads, commits, and only then answers.

Invariants: nothing is acknowledged before its commit. A message that the database will never take is parked and passed
over; one that it cannot take now is kept and tried again, and after ``GIVE_UP_S`` given back to its sender. Memory is
bounded by what waits for its turn (`fleet_server.ingest.fair_queue`) and one flush. Who stops it gets everything
committed and answered that it had begun.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from fleet_server.db import reading, transaction
from fleet_server.devices.habit import hour_of
from fleet_server.enrollment.retired import RetiredWatch
from fleet_server.ingest import overuse
from fleet_server.ingest.answers import Answers, Publication, hints
from fleet_server.ingest.away import DatabaseAway, is_away
from fleet_server.ingest.comeback import Comeback
from fleet_server.ingest.dead_room import DeadRoom
from fleet_server.ingest.decode import Decoded, decode, size_of, unprocessable
from fleet_server.ingest.directory import Directory
from fleet_server.ingest.door import Door, Taken
from fleet_server.ingest.fair_queue import NO_QUOTAS, FairQueue, Quotas
from fleet_server.ingest.fleet_size import FleetSize
from fleet_server.ingest.flush import Dispatch, Flush, Flushed
from fleet_server.ingest.heard import Heard
from fleet_server.ingest.installation import NotPrimary, db_epoch, save_worker
from fleet_server.ingest.overuse import Overuse
from fleet_server.ingest.pacing import AckPacer, DueAck
from fleet_server.ingest.trust_news import TrustNews
from fleet_server.ingest.watching import Watching
from fleet_server.kit.times import utc_now
from protocol.codec import JSON_DEFLATE
from protocol.session import Profile
from protocol.topics import PREFIX, WATCH

GIVE_UP_S = 20.0
# One transaction takes so many messages, or ends with the one that reaches so many bytes as JSON: as objects they take
# many times that: arrays, rows and what is sent to the database.
MAX_FLUSH_MESSAGES = 1000
MAX_FLUSH_BYTES = 2 * 1024 * 1024
# Columns of samples deflate to about a sixth. Quotas count that; how large it is really shows when it is read.
_INFLATES_BY = 6
_LINK_AT = len(PREFIX) + 1
# Longer than a flush; the broker's confirmation comes behind what it had queued for this worker.
_FINISH_S = 5.0
_RETRY_FIRST_S = 0.05
_RETRY_CAP_S = 2.0
_IDLE_WAIT_S = 1.0
_STATE_EVERY_S = 5.0
_COMMAND_QOS = 1
_log = structlog.get_logger(__name__)


class Worker:
    """``run`` until ``stop`` is set. ``counters`` may be read from other threads."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        door: Door,
        answers: Answers,
        dispatch: Dispatch,
        quotas: Quotas = NO_QUOTAS,
        trust: TrustNews | None = None,
    ) -> None:
        self._name = name
        self._engine = engine
        self._door = door
        self._answers = answers
        self._dispatch = dispatch
        self._trust = trust
        self._directory = Directory()
        self._heard = Heard()
        self._room = DeadRoom()
        self._queue: FairQueue[Taken] = FairQueue(quotas)
        # Whose turn it is, but that one transaction did not take all of them.
        self._due: deque[Taken] = deque()
        self._overuse = Overuse()
        self._pacer = AckPacer()
        self._watching = Watching()
        self._comeback = Comeback(name)
        self._fleet_size = FleetSize(engine)
        self._saved_s = float("-inf")
        self._retired = RetiredWatch(engine)
        self._listening_since: datetime | None = None
        self.counters: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.step()
            self._finish()
        finally:
            self._door.close()
            self._note_listening()
            self._saved_s = float("-inf")
            self._save_state()

    def step(self) -> None:
        """Takes what has arrived, waiting for it at most a second, and answers as much as one transaction takes."""
        self._take_in()
        self._directory.forget(self._retired.look(time.monotonic(), utc_now()))
        self._fill_up()
        if self._due:
            self._handle()
        self._send_due_acks()
        self._pace_overusers()
        self._spread_trust()
        self._note_listening()
        self._tell_of_return()
        self._save_state()

    def _take_in(self) -> None:
        """What is read here waits for its turn; what is not, because enough waits, stays in the broker."""
        if self._queue.is_full:
            return
        taken = self._door.take(0.0 if self._waits else self._wait_s())
        now_s = time.monotonic()
        watchers: list[Taken] = []
        dropped: list[Taken] = []
        for one in taken:
            message = one.message
            if message.topic == WATCH:
                watchers.append(one)
                continue
            # The link's part of the topic; what it is worth is for `decode` to say.
            link = message.topic[_LINK_AT : message.topic.find("/", _LINK_AT)]
            size_bytes = len(message.payload) * (1 if message.content_type != JSON_DEFLATE else _INFLATES_BY)
            if not self._queue.offer(one, link, self._directory.tenant_of(link), size_bytes, now_s):
                dropped.append(one)
        if dropped:
            self._door.acknowledge(dropped)
            self.counters["put_off"] += len(dropped)
            self._overuse.note(self._queue.take_dropped(), now_s)
        if watchers:
            self._answer_watchers(watchers)

    def _finish(self) -> None:
        """Asks for nothing more, stores what came until the broker has confirmed that, and answers all of it."""
        self._door.retire()
        give_up_s = time.monotonic() + _FINISH_S
        while (self._door.is_retiring or self._waits) and time.monotonic() < give_up_s:
            self.step()
        self._publish_acks(self._pacer.take_all(time.monotonic()))

    @property
    def _waits(self) -> bool:
        """Whether something that was read is not stored yet."""
        return bool(self._due or self._queue.count)

    def _wait_s(self) -> float:
        if not self._door.has_room:
            return _IDLE_WAIT_S
        due_s, now_s = self._pacer.next_due_s(), time.monotonic()
        wait_s = _IDLE_WAIT_S if due_s is None else min(_IDLE_WAIT_S, max(0.0, due_s - now_s))
        return min(wait_s, self._comeback.wait_s(now_s)) if self._door.is_open else wait_s

    def _fill_up(self) -> None:
        """To what one transaction may take, and no more bytes than would be taken at once."""
        most = MAX_FLUSH_MESSAGES - len(self._due)
        held_bytes = sum([len(one.message.payload) for one in self._due]) * _INFLATES_BY
        if most > 0 and held_bytes < 4 * MAX_FLUSH_BYTES:
            self._due.extend(self._queue.take(most, 4 * MAX_FLUSH_BYTES - held_bytes, time.monotonic()))

    def _handle(self) -> None:
        """One transaction, so that the broker is heard between two; how large a message is shows when it is read."""
        piece: list[Taken] = []
        messages: list[Decoded] = []
        size_bytes = 0
        while self._due and size_bytes < MAX_FLUSH_BYTES:
            piece.append(self._due.popleft())
            messages.append(decode(piece[-1].message, piece[-1].came_s))
            size_bytes += size_of(messages[-1])
        left = self._store_all(messages)
        if left:
            # Their senders still have them; without an answer they send them again.
            given_back = left + len(self._due) + self._queue.clear()
            self._due.clear()
            self.counters["given_back"] += given_back
            _log.error("database takes nothing, messages are given back", messages=given_back)
            self._comeback.on_away()
            self._door.close()
            return
        self._door.acknowledge(piece)

    def _store_all(self, messages: list[Decoded]) -> int:
        """How many could not be stored before time was up."""
        give_up_s = time.monotonic() + GIVE_UP_S
        delay_s = _RETRY_FIRST_S
        while messages:
            try:
                messages = self._store(messages)
            except DatabaseAway as error:
                self.counters["retries"] += 1
                if time.monotonic() > give_up_s:
                    return len(messages)
                _log.warning("database takes nothing now, trying again", error=str(error.__cause__)[:300])
                self._door.idle(delay_s)
                delay_s = min(delay_s * 2, _RETRY_CAP_S)
        return 0

    def _store(self, messages: list[Decoded]) -> list[Decoded]:
        """Commits and answers; what remains to be done when only a part could be committed."""
        try:
            self._commit(messages)
        except Exception as error:  # the runner's edge: whatever one message sets off, the others are served
            if is_away(error):
                raise DatabaseAway from error
            _log.exception("a flush failed, its messages are tried apart", messages=len(messages))
            return self._isolate(messages)
        return []

    def _isolate(self, messages: list[Decoded]) -> list[Decoded]:
        """Finds what cannot be applied by halving; the one that fails alone is parked."""
        if len(messages) > 1:
            half = len(messages) // 2
            rest = self._store(messages[:half])
            return rest + self._store(messages[half:]) if rest else self._store(messages[half:])
        try:
            self._commit([unprocessable(messages[0])])
        except SQLAlchemyError as error:
            if is_away(error):
                raise DatabaseAway from error
            self.counters["lost"] += 1
            _log.exception("a message could not even be parked")
        else:
            self.counters["parked"] += 1
        return []

    def _commit(self, messages: Sequence[Decoded]) -> None:
        now, now_s = utc_now(), time.monotonic()
        try:
            with transaction(self._engine) as session:
                epoch = db_epoch(session)
                if epoch != self._answers.db_epoch:
                    self._start_over()
                flush = Flush(session, self._directory, self._heard, self._dispatch, now, now_s, self._room)
                flushed = flush.run(messages)
        except BaseException:
            # What it read of its own writes was never committed.
            self._directory.forget({message.link for message in messages if message.link is not None})
            raise
        self._answers.db_epoch = epoch
        self._heard.note(flushed.heard, hour_of(now), now_s)
        self.counters.update(flushed.counters)
        self.counters["flushes"] += 1
        self._answer(flushed)

    def _start_over(self) -> None:
        """Another database has taken over: what is remembered of the one before need not be true, and what that one has
        committed must not be acknowledged in the name of this one.
        """
        self.counters["unsaid_acks"] += self._pacer.forget()
        self._directory, self._heard, self._room = Directory(), Heard(), DeadRoom()
        self._comeback.on_other_database()

    def _answer(self, flushed: Flushed) -> None:
        now, now_s = utc_now(), time.monotonic()
        self._door.publish(hints(flushed.event_ids))
        if flushed.greetings:
            size = self._fleet_size.at(now_s)
            # First: whose keys have changed meanwhile would not believe the welcome.
            self._door.publish(self._news_for(flushed, now_s))
            self._door.publish([self._answers.welcome(one, size, now) for one in flushed.greetings])
        out = flushed.outgoing
        self._door.publish([Publication(one.topic, one.payload, one.content_type, _COMMAND_QOS) for one in out])
        for ack in flushed.acks:
            self._pacer.add(ack, now_s)
        self._send_due_acks()

    def _news_for(self, flushed: Flushed, now_s: float) -> list[Publication]:
        if self._trust is None:
            return []
        of_link = self._trust.for_link
        return [one for it in flushed.greetings for one in of_link(it.link.id, it.link.tenant_id, it.hello, now_s)]

    def _spread_trust(self) -> None:
        """A new policy or a stop, to all who are online. What cannot be told now is told at the next turn."""
        if self._trust is not None and self._door.is_open:
            self.counters["trust_told"] += self._trust.tell(self._engine, self._door.publish, time.monotonic())

    def _tell_of_return(self) -> None:
        """What cannot be told now is told a little later."""
        now, now_s = utc_now(), time.monotonic()
        if self._comeback.wait_s(now_s) > 0 or not (self._door.is_open and self._door.has_room):
            return
        try:
            with transaction(self._engine) as session:
                epoch = db_epoch(session)
                if epoch != self._answers.db_epoch:
                    self._start_over()
                words = self._comeback.take(session, epoch, now)
        except (SQLAlchemyError, NotPrimary) as error:
            self._comeback.put_off(now_s)
            _log.warning("links could not be told that somebody listens, trying again", error=str(error)[:300])
            return
        self._answers.db_epoch = epoch
        self._door.publish([self._answers.unasked(one.link_id, one.acks, now) for one in words])
        self._comeback.done(words, now_s)
        self.counters["comebacks_told"] += len(words)

    def _answer_watchers(self, taken: Sequence[Taken]) -> None:
        """Asks links for live mode. Not tried again: who still watches says so every few seconds."""
        now, now_s = utc_now(), time.monotonic()
        due = self._watching.due([one.message for one in taken], now_s)
        try:
            with reading(self._engine) as session:
                links = self._directory.find(session, due, now_s)
            size = self._fleet_size.at(now_s)
        except SQLAlchemyError as error:
            self.counters["watch_not_answered"] += len(due)
            _log.warning("links could not be asked for live mode", error=str(error)[:300])
        else:
            wanted = [(link, due[link.id]) for link in links.values() if link.profile]
            self._door.publish(
                [self._answers.live_flow(link.id, Profile(link.profile), size, for_s, now) for link, for_s in wanted]
            )
            self.counters["live_flows"] += len(wanted)
        self.counters["watch_refused"] = self._watching.refused
        self._door.acknowledge(taken)

    def _pace_overusers(self) -> None:
        """What cannot be told now is told at the next turn."""
        if self._overuse.is_empty:
            return
        now, now_s = utc_now(), time.monotonic()
        due = self._overuse.due(now_s)
        wanted = [*due.to_slow, *due.to_release, *due.to_tell]
        if not wanted:
            return
        try:
            with transaction(self._engine) as session:
                links = self._directory.find(session, wanted, now_s)
                event_ids = overuse.tell(session, links.values(), due.to_tell, now)
            size = self._fleet_size.at(now_s)
        except SQLAlchemyError as error:
            _log.warning("links could not be slowed down, trying again", error=str(error)[:300])
            return
        self._overuse.done(due, now_s)
        self._door.publish(hints(event_ids))
        for names, is_slowed in ((due.to_slow, True), (due.to_release, False)):
            found = [links[name] for name in names if name in links and links[name].profile]
            self._door.publish(
                [self._answers.pace(one.id, Profile(one.profile), size, now, is_slowed=is_slowed) for one in found]
            )
            self.counters["slowed" if is_slowed else "released"] += len(found)

    def _send_due_acks(self) -> None:
        """They wait, joined with those that follow them, while the broker takes nothing."""
        now_s = time.monotonic()
        if self._door.has_room:
            self._publish_acks(self._pacer.take_due(now_s))
        else:
            self.counters["unsaid_acks"] += self._pacer.forget_old(now_s)

    def _publish_acks(self, due: Sequence[DueAck]) -> None:
        if due:
            now = utc_now()
            self._door.publish([self._answers.acknowledgement(one, now) for one in due])
            self.counters["acks"] += len(due)

    def _note_listening(self) -> None:
        if not self._door.is_open:
            self._listening_since = None
        elif self._listening_since is None:
            self._listening_since = utc_now()
            self._comeback.on_listening()
            self._saved_s = float("-inf")

    def _save_state(self) -> None:
        """Also when nothing was counted: the scheduler trusts silence only while somebody listens."""
        now_s = time.monotonic()
        if now_s - self._saved_s < _STATE_EVERY_S:
            return
        self._saved_s = now_s
        self.counters["not_published"] = self._door.dropped
        try:
            with transaction(self._engine) as session:
                save_worker(session, self._name, self.counters, self._listening_since, utc_now())
        except SQLAlchemyError as error:
            _log.warning("the worker's state could not be saved, trying again", error=str(error)[:300])
