"""People in the audit: it says ``person:ID``, and only the table of people knows whose id that is. When a person is
erased that row goes, and what the audit says of the id is about nobody any more. A target that is the name of a person
is turned into a reference as the entry joins the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlmodel import Session, col, select

from fleet_server.auth.models import User
from fleet_server.auth.roles import Actor, ActorKind

_PREFIX = "person:"
_VISITOR = "operator:"


def of_person(person_id: str) -> str:
    """How the audit speaks of a person: for ``target``."""
    return f"{_PREFIX}{person_id}"


def of_actor(actor: Actor) -> str:
    """A person by id; a program, and whoever is not known, by name; a visitor as what he is, for the tenant does not
    know him: his name lies beside the entry that his visit began with.
    """
    if actor.is_visiting:
        return f"{_VISITOR}{actor.id}"
    if actor.kind is ActorKind.PERSON and actor.id:
        return of_person(actor.id)
    return actor.name


def person_of(reference: str) -> str | None:
    """The person's id; None when it is no person's reference."""
    return reference.removeprefix(_PREFIX) if reference.startswith(_PREFIX) else None


def names_of(session: Session, tenant_id: str, references: Iterable[str]) -> Mapping[str, str]:
    """By reference, of those that are people who are still known."""
    ids = {person_id for one in references if (person_id := person_of(one)) is not None}
    if not ids:
        return {}
    found = session.exec(select(User.id, User.name).where(User.tenant_id == tenant_id, col(User.id).in_(ids))).all()
    return {of_person(id_): name for id_, name in found}


def references_to(session: Session, tenant_id: str, names: Iterable[str]) -> Mapping[str, str]:
    """How the audit speaks of those who sign in by ``names``, as far as there are any."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    found = session.exec(select(User.id, User.name).where(User.tenant_id == tenant_id, col(User.name).in_(wanted)))
    return {name: of_person(id_) for id_, name in found}


def shown(reference: str, names: Mapping[str, str]) -> str:
    """The name where there is one; else that it was a person, and a few signs that tell them apart."""
    person_id = person_of(reference)
    if person_id is None:
        return reference
    return names.get(reference) or f"erased-{person_id[-6:]}"
