"""Where somebody stands in a table, and what the row is without them: the rules of the register, applied.

A query finds candidates, in SQL that both databases know; whether and where a text mentions the person is decided in
Python, on the whole word: "li" is not found in "still", a number not inside a longer one.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, Table, Text, and_, cast, func, or_, select
from sqlmodel import SQLModel

from fleet_server.audit.models import AuditEntry
from fleet_server.personal.register import Erased, PersonalField, fields_of
from fleet_server.personal.subjects import ERASED, Kind, Subject

_ENTRY: Table = AuditEntry.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_LIKE_SPECIAL = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
# In documents: whose value is a person's name, and whose is a word of the program that a name may happen to be.
_PEOPLE_KEYS = {"actor", "approved_by", "by", "cancelled_by", "people", "requester"}
_WORD_KEYS = {"action", "code", "execution", "kind", "outcome", "phase", "severity", "state", "type", "unit"}
# Tables that name a place: by which column they are of a site.
_OWN = {"site": "id", "device": "site_id"}
# Tables of people, and by which column a row is of one of them; of others by ``user_id``.
_OF_PERSON = {"person": "id", "assignment": "assignee_id"}
_SIGNED_GONE = {"payload": "{}", "envelope": ""}


@dataclass(frozen=True)
class Matcher:
    """``is_sqlite``: how bytes are searched."""

    name: str
    subject: Subject
    is_sqlite: bool

    @cached_property
    def table(self) -> Table:
        return SQLModel.metadata.tables[self.name]

    @cached_property
    def fields(self) -> tuple[PersonalField, ...]:
        return fields_of(self.name)

    @cached_property
    def key(self) -> list[Any]:
        return list(self.table.primary_key.columns)

    def conditions(self) -> ColumnElement[bool] | None:
        """What a row has to fulfil to be looked at. None: this table can hold nothing of this person."""
        found = [condition for field in self.fields for condition in self._conditions(field)]
        if not found:
            return None
        ours = self.table.c.tenant_id == self.subject.tenant_id
        own = _OWN.get(self.name)
        if own is not None and self.subject.kind is Kind.SITE:
            # What another shop is called is no mention of this one's contact.
            ours = and_(ours, self.table.c[own] == self.subject.id)
        return and_(ours, or_(*found))

    def beside(self) -> list[Any]:
        """Columns that a query gives beside those of the register."""
        of_entries = self._of_entries()
        return [] if of_entries is None else [of_entries.label("of_subject")]

    def mentioned(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the row that are about the person, as they are."""
        return {field.column: row[field.column] for field in self.fields if self._is_about(field, row)}

    def goes(self, row: Mapping[str, Any]) -> bool:
        """Whether the whole row goes."""
        whole = (Erased.ROW, Erased.LETTER, Erased.ASIDE)
        return any(field.erased in whole and self._is_about(field, row) for field in self.fields)

    def without(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that change, and to what."""
        return {field.column: self._without(field, row) for field in self.fields if self._is_about(field, row)}

    @staticmethod
    def signed_gone(column: str) -> str:
        return _SIGNED_GONE[column]

    @classmethod
    def document_gone(cls, value: Any, key: str = "") -> Any:
        """Without any text that somebody may have typed; its shape stays."""
        if isinstance(value, dict):
            return {name: cls.document_gone(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [cls.document_gone(one, key) for one in value]
        is_text = isinstance(value, str) and value and key not in _WORD_KEYS
        return ERASED if is_text and key not in _PEOPLE_KEYS else value

    def _conditions(self, field: PersonalField) -> Iterator[ColumnElement[bool]]:
        column, subject = self.table.c[field.column], self.subject
        match field.erased:
            case Erased.EMPTIED:
                if subject.kind is Kind.SITE:
                    yield self.table.c.id == subject.id
            case Erased.NAME:
                if subject.name:
                    yield column == subject.name
            case Erased.ROW:
                if subject.kind is Kind.PERSON:
                    yield self.table.c[self._of_person] == subject.id
            case Erased.SIGNED if field.column == "envelope":
                # What was signed lies in it as base64.
                yield column != ""
            case Erased.LETTER:
                for word in self._written():
                    yield self._bytes_hold(column, word)
            case Erased.ASIDE:
                yield from self._aside_conditions(column)
            case _:
                yield from self._mentions(cast(column, Text))

    @property
    def _of_person(self) -> str:
        return _OF_PERSON.get(self.name, "user_id")

    def _aside_conditions(self, column: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
        yield from self._mentions(cast(column, Text))
        of_entries = self._of_entries()
        if of_entries is not None:
            yield of_entries

    def _of_entries(self) -> ColumnElement[bool] | None:
        """Whether a row lies beside an entry of the person, by its deed or about it."""
        if self.name != "audit_aside" or self.subject.kind is not Kind.PERSON:
            return None
        of_them = or_(_ENTRY.c.actor == self.subject.reference, _ENTRY.c.target == self.subject.reference)
        theirs = select(_ENTRY.c.seq).where(_ENTRY.c.tenant_id == self.subject.tenant_id, of_them)
        return self.table.c.seq.in_(theirs)

    def _mentions(self, column: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
        for word in self._written():
            yield func.lower(column).like(f"%{word.lower().translate(_LIKE_SPECIAL)}%", escape="\\")

    def _bytes_hold(self, column: ColumnElement[Any], word: str) -> ColumnElement[bool]:
        looked_for = cast(word.encode(), LargeBinary)
        return (func.instr(column, looked_for) if self.is_sqlite else func.pg_catalog.position(column, looked_for)) > 0

    def _written(self) -> list[str]:
        """Documents hold what is not ASCII in JSON's own way of writing."""
        return list(dict.fromkeys(form for word in self.subject.words for form in (word, json.dumps(word)[1:-1])))

    def _is_about(self, field: PersonalField, row: Mapping[str, Any]) -> bool:
        value, subject = row[field.column], self.subject
        match field.erased:
            case Erased.EMPTIED:
                return subject.kind is Kind.SITE and row["id"] == subject.id and bool(value)
            case Erased.ROW:
                return subject.kind is Kind.PERSON and row[self._of_person] == subject.id
            case Erased.NAME:
                return bool(subject.name) and value == subject.name
            case Erased.LETTER:
                return any(word.encode() in value for word in self._written())
            case Erased.ASIDE:
                # Found by the entry beside it, or by what it says.
                return self._holds(value) or bool(row.get("of_subject"))
            case Erased.SIGNED:
                return self._holds(_opened(value))
            case Erased.NUMBER:
                return bool(value) and self._holds(value)
            case _:
                return bool(value) and self._without(field, row) != value

    def _without(self, field: PersonalField, row: Mapping[str, Any]) -> Any:
        value = row[field.column]
        match field.erased:
            case Erased.EMPTIED:
                return ""
            case Erased.NUMBER:
                return None
            case Erased.NAME:
                return self.subject.label
            case Erased.SIGNED:
                return _SIGNED_GONE[field.column]
            case Erased.DOCUMENT:
                return self._cleaned(value, "")
            case _:
                return self._cleaned(value, "") if isinstance(value, list) else self._scrubbed(value)

    def _cleaned(self, value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: self._cleaned(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self._cleaned(one, key) for one in value]
        if not isinstance(value, str) or (key in _WORD_KEYS and key not in _PEOPLE_KEYS):
            return value
        if key in _PEOPLE_KEYS and self.subject.name:
            return self.subject.label if value == self.subject.name else value
        return self._scrubbed(value)

    def _scrubbed(self, text: str) -> str:
        return self._pattern.sub(self.subject.label, text) if self.subject.words else text

    def _holds(self, value: Any) -> bool:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return bool(self.subject.words) and self._pattern.search(text) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Longest first, so that a number goes with its prefix. A word of letters or digits is found as a whole."""
        words = sorted(self._written(), key=len, reverse=True)
        return re.compile("|".join(_bounded(word) for word in words), re.IGNORECASE)


def _bounded(word: str) -> str:
    before = r"(?<![A-Za-z0-9])" if word[0].isascii() and word[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if word[-1].isascii() and word[-1].isalnum() else ""
    return f"{before}{re.escape(word)}{after}"


def _opened(document: str) -> str:
    """What was signed, of an envelope; a document that is no envelope as it is."""
    try:
        payload = json.loads(document)["payload"]
        return base64.b64decode(payload).decode()
    except (ValueError, KeyError, TypeError):
        return document
