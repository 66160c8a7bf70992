from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from device_agent.adapters.spool import Spool
from device_agent.bootstrap import with_soak_limit
from device_agent.config import AgentConfig, load
from device_agent.core.trust import CHAIN, Trust, chain_text
from device_agent.errors import ConfigurationInvalid
from device_agent.policy_files import kept_trust
from protocol import codec
from protocol.records import RecordBody, SecurityEvent
from protocol.signing import POLICY_TYPE, Policy, SigningKey, sign
from protocol.stops import STOP_TYPE, StopOrder, StopState
from tests.device_agent.core.invented import DEFINITIONS
from tests.device_agent.test_config import ENROLMENT

ROOT, OTHER, SERVER, NEXT = (SigningKey.from_seed(seed * 32) for seed in (b"r", b"o", b"s", b"n"))


def wrap(body: RecordBody) -> bytes:
    return codec.to_json(body)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path / "spool.db", wrap)) as spool:
        yield spool


def policy(version: int, *keys: SigningKey, **changed: Any) -> bytes:
    document = Policy(version, 0, [OTHER.public_hex], [SERVER.public_hex], [], **changed)
    return codec.to_json(sign(POLICY_TYPE, codec.to_json(document), keys or [ROOT]))


def config_with(folder: Path, bundled: bytes) -> AgentConfig:
    (folder / "enrolment.json").write_text(json.dumps({**ENROLMENT, "root_public": ROOT.public_hex}))
    (folder / "policy.json").write_bytes(bundled)
    (folder / "agent.toml").write_text('enrolment = "."\n')
    return load(folder / "agent.toml")


def started(folder: Path, spool: Spool, bundled: bytes) -> Trust:
    return kept_trust(config_with(folder, bundled), spool)


def test_policy_of_the_enrolments_root_is_taken_and_never_an_older_one_again(tmp_path: Path, spool: Spool) -> None:
    assert started(tmp_path, spool, policy(3)).policy.version == 3
    assert started(tmp_path, spool, policy(4)).policy.version == 4
    # The bundle was set back; what this agent knows was not.
    assert started(tmp_path, spool, policy(3)).policy.version == 4
    spool.remember({CHAIN: None})
    with pytest.raises(ConfigurationInvalid, match="expected version 4 or newer, came 3"):
        started(tmp_path, spool, policy(3))


def test_policy_that_came_since_the_enrolment_is_proved_anew_at_each_start(tmp_path: Path, spool: Spool) -> None:
    trust = started(tmp_path, spool, policy(1))
    for document in (policy(2, ROOT, NEXT, roots=[NEXT.public_hex]), policy(3, NEXT), policy(4, NEXT)):
        assert isinstance(trust.on_trust(document, None), SecurityEvent)
        spool.remember({**trust.facts})
    again = started(tmp_path, spool, policy(1))
    assert (again.policy.version, again.held.root.keys) == (4, (NEXT.public_hex,))
    assert [json.loads(text) for text in again.held.chain] == [
        json.loads(policy(2, ROOT, NEXT, roots=[NEXT.public_hex])),
        json.loads(policy(4, NEXT)),
    ]
    spool.remember({CHAIN: chain_text([policy(4, NEXT).decode()])})
    with pytest.raises(ConfigurationInvalid, match="expected version 4 or newer, came 1"):
        started(tmp_path, spool, policy(1))


def test_bundle_that_was_written_anew_for_a_later_policy_goes_before_what_is_stored(
    tmp_path: Path, spool: Spool
) -> None:
    trust = started(tmp_path, spool, policy(1))
    trust.on_trust(policy(2, ROOT, NEXT, roots=[NEXT.public_hex]), None)
    spool.remember({**trust.facts})
    assert started(tmp_path, spool, policy(5, NEXT)).policy.version == 5


def test_emergency_stop_is_in_force_after_a_restart(tmp_path: Path, spool: Spool) -> None:
    trust = started(tmp_path, spool, policy(1))
    stop = codec.to_json(sign(STOP_TYPE, codec.to_json(StopOrder("default", 3, 0)), [OTHER]))
    assert isinstance(trust.on_trust(stop, None), SecurityEvent)
    spool.remember({**trust.facts})
    assert started(tmp_path, spool, policy(1)).stop == StopState(3, 0)


def test_policy_that_somebody_else_signed_stops_the_start(tmp_path: Path, spool: Spool) -> None:
    with pytest.raises(ConfigurationInvalid, match="expected a policy signed by the enrolment's root"):
        started(tmp_path, spool, policy(1, OTHER))


def test_missing_policy_names_itself(tmp_path: Path, spool: Spool) -> None:
    config = config_with(tmp_path, policy(1))
    (tmp_path / "policy.json").unlink()
    with pytest.raises(ConfigurationInvalid, match=r"policy\.json: expected a readable file"):
        kept_trust(config, spool)


def test_soak_limit_shortens_what_is_longer_and_declares_it() -> None:
    limited = with_soak_limit(DEFINITIONS["test.mend"], 5)
    assert limited.declared.soak_s == 5
    assert with_soak_limit(DEFINITIONS["test.no_soak"], 5).declared.soak_s == 0
