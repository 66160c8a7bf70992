"""The policy that this link starts with: the newest that is proved, its enrolment's or one that came since.

Invariant: never an older one than this agent has had, whichever of its files was restored.
"""

from __future__ import annotations

from device_agent.config import AgentConfig
from device_agent.core.ports import Store
from device_agent.core.records import Changes
from device_agent.core.trust import CHAIN, VERSION, Held, Trust, follow, read_chain
from device_agent.errors import ConfigurationInvalid
from protocol.errors import Malformed
from protocol.policy import Root


def enrolled_root(config: AgentConfig) -> Root:
    who = config.who
    return Root(tuple(who.roots), who.root_threshold) if who.roots else Root.of_enrolment(who.root_public)


def enrolled_policy(config: AgentConfig) -> str:
    """The bundle's own document. Raises ConfigurationInvalid."""
    path = config.bundled("policy.json")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        came = getattr(error, "strerror", None) or "other bytes than UTF-8"
        raise ConfigurationInvalid(f"policy.json: expected a readable file, came {came}: {path}") from error


def newest(stored: list[str], bundled: str, root: Root) -> Held | Malformed:
    """A bundle may have been written anew since, for the enrolment's root or for the one that took its place."""
    found = [follow([*stored, bundled], root), follow([bundled], root)]
    held = [one for one in found if isinstance(one, Held)]
    return max(held, key=lambda one: one.policy.version, default=found[-1])


def kept_trust(config: AgentConfig, store: Store) -> Trust:
    """Raises ConfigurationInvalid when there is no policy, or only one from before the one this agent had."""
    root = enrolled_root(config)
    try:
        held = newest(read_chain(store.fact(CHAIN)), enrolled_policy(config), root)
    except ValueError as error:
        raise ConfigurationInvalid("root_public: expected an Ed25519 public key, came other 32 bytes") from error
    if isinstance(held, Malformed):
        raise ConfigurationInvalid(f"policy.json: expected a policy signed by the enrolment's root, came {held.detail}")
    known = int(store.fact(VERSION) or 0)
    if held.policy.version < known:
        raise ConfigurationInvalid(f"policy.json: expected version {known} or newer, came {held.policy.version}")
    trust = Trust.kept(root, held, config.who.tenant, store.fact)
    if held.policy.version > known:
        store.commit(Changes(facts={**trust.facts}), 0)
    return trust
