from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device_agent.adapters.spool import Spool
from device_agent.bootstrap import load_policy, with_soak_limit
from device_agent.config import AgentConfig, load
from device_agent.errors import ConfigurationInvalid
from protocol import codec
from protocol.records import RecordBody
from protocol.signing import POLICY_TYPE, Policy, SigningKey, sign
from tests.device_agent.core.invented import DEFINITIONS
from tests.device_agent.test_config import ENROLMENT

ROOT, OTHER = SigningKey.from_seed(b"r" * 32), SigningKey.from_seed(b"o" * 32)


def wrap(body: RecordBody) -> bytes:
    return codec.to_json(body)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path / "spool.db", wrap)) as spool:
        yield spool


def config_with(folder: Path, version: int, key: SigningKey = ROOT) -> AgentConfig:
    (folder / "enrolment.json").write_text(json.dumps({**ENROLMENT, "root_public": ROOT.public_hex}))
    policy = Policy(version, 0, [OTHER.public_hex], [OTHER.public_hex], [])
    (folder / "policy.json").write_bytes(codec.to_json(sign(POLICY_TYPE, codec.to_json(policy), [key])))
    (folder / "agent.toml").write_text('enrolment = "."\n')
    return load(folder / "agent.toml")


def test_policy_of_the_enrolments_root_is_taken_and_never_an_older_one_again(tmp_path: Path, spool: Spool) -> None:
    assert load_policy(config_with(tmp_path, 3), spool).version == 3
    assert load_policy(config_with(tmp_path, 4), spool).version == 4
    with pytest.raises(ConfigurationInvalid, match="expected version 4 or newer, came 3"):
        load_policy(config_with(tmp_path, 3), spool)


def test_policy_that_somebody_else_signed_stops_the_start(tmp_path: Path, spool: Spool) -> None:
    with pytest.raises(ConfigurationInvalid, match="expected a policy signed by the enrolment's root"):
        load_policy(config_with(tmp_path, 1, OTHER), spool)


def test_missing_policy_names_itself(tmp_path: Path, spool: Spool) -> None:
    config = config_with(tmp_path, 1)
    (tmp_path / "policy.json").unlink()
    with pytest.raises(ConfigurationInvalid, match=r"policy\.json: expected a readable file"):
        load_policy(config, spool)


def test_soak_limit_shortens_what_is_longer_and_declares_it() -> None:
    limited = with_soak_limit(DEFINITIONS["test.mend"], 5)
    assert limited.declared.soak_s == 5
    assert with_soak_limit(DEFINITIONS["test.no_soak"], 5).declared.soak_s == 0
