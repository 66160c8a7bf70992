from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, update
from sqlmodel import Session

from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.ingest.answers import Publication
from fleet_server.ingest.trust_news import LOOK_EVERY_S, TrustNews
from protocol import codec
from protocol.session import Hello, Profile
from protocol.signing import POLICY_TYPE, Envelope, Policy, SigningKey, sign
from protocol.stops import STOP_TYPE, StopOrder
from tests.fleet_server.factories import TENANT, add_fleet

ROOT, COMMAND, SERVER = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))


def policy(version: int) -> bytes:
    document = Policy(version, 0, [COMMAND.public_hex], [SERVER.public_hex], [])
    return codec.to_json(sign(POLICY_TYPE, codec.to_json(document), [ROOT]))


def stop(epoch: int, tenant: str = TENANT, *, lifts: bool = False) -> bytes:
    return codec.to_json(sign(STOP_TYPE, codec.to_json(StopOrder(tenant, epoch, 0, lifts)), [COMMAND]))


def hello(**known: int) -> Hello:
    return Hello(
        nonce="0" * 32,
        session="0" * 32,
        boot="0" * 32,
        agent_version="1",
        versions=[1],
        capability_digest="0" * 64,
        devices=[],
        unregistered=[],
        streams=[],
        profile=Profile.DEMO,
        keepalive_s=10,
        report_s=5,
        wall_ms=0,
        trusted_ms=0,
        mono_ms=0,
        **known,
    )


def written(path: Path, document: bytes, at_s: int = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(document)
    os.utime(path, (at_s, at_s))


def documents(messages: list[Publication]) -> list[Any]:
    return [codec.decode(one.payload, one.content_type, Envelope) for one in messages]


def envelopes(*wanted: bytes) -> list[Any]:
    return [msgspec.json.decode(one, type=Envelope) for one in wanted]


@pytest.fixture
def news(tmp_path: Path) -> TrustNews:
    written(tmp_path / "policy.json", policy(5))
    written(tmp_path / "policy-history" / "10.json", policy(2))
    written(tmp_path / "policy-history" / "9.json", policy(4))
    written(tmp_path / "stops" / "default.json", stop(3))
    return TrustNews(tmp_path)


def test_link_is_sent_what_its_hello_does_not_show_in_the_order_of_the_versions(news: TrustNews) -> None:
    told = news.for_link("dev-00000001", TENANT, hello(), 0)
    assert documents(told) == envelopes(policy(2), policy(4), policy(5), stop(3))
    assert {one.topic for one in told} == {"fleet/v1/dev-00000001/down/trust"}
    told = news.for_link("dev-00000001", TENANT, hello(policy_version=4, stop_epoch=3), 0)
    assert documents(told) == envelopes(policy(5))
    assert news.for_link("dev-00000001", TENANT, hello(policy_version=5, stop_epoch=3), 0) == []
    assert documents(news.for_link("dev-00000001", "another", hello(policy_version=5), 0)) == []


def test_lift_is_news_for_who_knows_the_stop_alone(news: TrustNews, tmp_path: Path) -> None:
    written(tmp_path / "stops" / "default.json", stop(3, lifts=True))
    assert documents(news.for_link("dev-00000001", TENANT, hello(policy_version=5, stop_epoch=3), 0)) == envelopes(
        stop(3, lifts=True)
    )
    known = hello(policy_version=5, stop_epoch=3, lift_epoch=3)
    assert news.for_link("dev-00000001", TENANT, known, 0) == []


def test_what_is_no_signed_document_is_sent_to_nobody(news: TrustNews, tmp_path: Path) -> None:
    written(tmp_path / "policy.json", b"{}")
    written(tmp_path / "stops" / "default.json", policy(9))
    assert documents(news.for_link("dev-00000001", TENANT, hello(policy_version=2), 0)) == envelopes(policy(4))


def test_change_is_told_once_to_those_who_are_online(news: TrustNews, tmp_path: Path, engine: Engine) -> None:
    with transaction(engine) as session:
        fleet = add_fleet(session)
        session.execute(update(Device).values(presence="offline"))
        session.execute(update(Device).where(Device.id == fleet.gateway).values(presence="online"))  # type: ignore[arg-type]  # SQLModel types columns as their values
    note(news, engine)
    assert not news.has_news(0)
    written(tmp_path / "stops" / "default.json", stop(4), at_s=2)
    assert not news.has_news(LOOK_EVERY_S / 2)
    assert news.has_news(LOOK_EVERY_S)
    told = spread(news, engine)
    assert documents(told)[-1:] == envelopes(stop(4))
    assert {one.topic for one in told} == {f"fleet/v1/{fleet.gateway}/down/trust"}
    assert not news.has_news(2 * LOOK_EVERY_S)


def test_change_that_a_greeting_link_brings_to_light_is_told_to_the_others_too(
    news: TrustNews, tmp_path: Path, engine: Engine
) -> None:
    with transaction(engine) as session:
        add_fleet(session)
        session.execute(update(Device).values(presence="online"))
    note(news, engine)
    written(tmp_path / "stops" / "default.json", stop(4), at_s=2)
    # A hello comes before the worker's own look.
    assert documents(news.for_link("dev-00000001", TENANT, hello(policy_version=5, stop_epoch=3), LOOK_EVERY_S))
    assert news.has_news(LOOK_EVERY_S)
    assert envelopes(stop(4))[0] in documents(spread(news, engine))


def test_what_changed_while_no_worker_was_up_is_told_by_the_next_one_once(
    news: TrustNews, tmp_path: Path, engine: Engine
) -> None:
    """Links whose connection the broker kept do not greet again: a stop would never reach them."""
    with transaction(engine) as session:
        add_fleet(session)
        session.execute(update(Device).values(presence="online"))
    note(news, engine)
    written(tmp_path / "stops" / "default.json", stop(4), at_s=2)
    following = TrustNews(tmp_path)
    assert following.has_news(0)
    told = spread(following, engine)
    assert envelopes(stop(4))[0] in documents(told)
    note(following, engine)
    assert not following.has_news(LOOK_EVERY_S)
    third = TrustNews(tmp_path)
    assert third.has_news(0)
    assert spread(third, engine) == []
    assert not third.has_news(LOOK_EVERY_S)


def note(news: TrustNews, engine: Engine) -> None:
    """As the worker does once all are told."""
    news.has_news(0)
    spread(news, engine)
    with transaction(engine) as session:
        news.note(session)


def spread(news: TrustNews, engine: Engine) -> list[Publication]:
    with reading(engine) as session:
        assert isinstance(session, Session)
        return news.spread(session)
