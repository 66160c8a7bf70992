"""How a key is followed by another one without anybody going to a terminal.

The next key is named by a policy that the present root signs; both count for a while; then the next one is taken into
use and a second policy names the former one no more. Links that slept through it take the newest policy as they greet.
Where the root's keys are not at hand each step leaves a draft and ends; the same command, given again once the signed
policy is imported, goes on from there.

Invariant: a key is taken into use only when the policy in force names it, and dropped only when another one is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

from fleet_server.enrollment.ceremony import CeremonyRefused, Changes, drafted, present_policy, take_policy
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.errors import FleetError
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from fleet_server.signer.keys import KeyFiles, load_key
from fleet_server.signer.service import ChangesKey
from fleet_server.signer.stopping import publish_stops
from protocol import codec
from protocol.authorisations import same_person
from protocol.signing import POLICY_TYPE, Approver, Policy, SigningKey, sign

_RECORDS = "rotating"


class SignatureAwaited(FleetError):
    """The root's keys are elsewhere: nothing is wrong, and nothing goes on before they have signed."""

    code: ClassVar[str] = "signature_awaited"


@dataclass(frozen=True, slots=True)
class Hands:
    """``keys``: of the root, as many as are at hand; none: ``draft`` is written for whoever holds them.

    ``overlap``: waits until links that are online have heard of a policy. ``at_once``: the former key was stolen, so it
    is dropped with the same policy that names the next one.
    """

    keys: Sequence[SigningKey]
    draft: Path
    overlap: Callable[[], None]
    at_once: bool = False


class OnlineKey(Protocol):
    """A key of the installation that a policy names: of the signer, or of ingest."""

    @property
    def name(self) -> str: ...

    def public(self) -> str: ...

    def prepared(self) -> str: ...

    def take(self) -> None: ...

    def added(self, public: str) -> Changes: ...

    def named(self, policy: Policy) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class CommandKey:
    """Held by the signer alone, wherever that runs: it makes the next one itself and tells only its public half."""

    settings: ServerSettings
    signer: ChangesKey
    name: str = "command"

    def public(self) -> str:
        return self.signer.standing(utc_now()).command_key

    def prepared(self) -> str:
        return self.signer.prepare_key()

    def take(self) -> None:
        now = utc_now()
        Dispatcher(self.signer).give_policy(self.settings.policy_file, now)
        self.signer.take_key(now)
        standing = self.signer.standing(now)
        write_private(self.settings.keys_dir / "command.pub", standing.command_key + "\n")
        # A stop that holds was signed anew.
        publish_stops(self.settings.server_dir, standing)

    def added(self, public: str) -> Changes:
        return Changes(command_keys=[public])

    def named(self, policy: Policy) -> Sequence[str]:
        return policy.command_keys


@dataclass(frozen=True, slots=True)
class ServerKey:
    """Signs acknowledgements, welcome and flow. Ingest begins anew by itself when its file is another one."""

    settings: ServerSettings
    name: str = "server"

    @property
    def _files(self) -> KeyFiles:
        return KeyFiles(self.settings.keys_dir / "server.seed")

    def public(self) -> str:
        return load_key(self._files.present).public_hex

    def prepared(self) -> str:
        return self._files.prepared().public_hex

    def take(self) -> None:
        self._files.take()

    def added(self, public: str) -> Changes:
        return Changes(server_keys=[public])

    def named(self, policy: Policy) -> Sequence[str]:
        return policy.server_keys


def replace_online_key(settings: ServerSettings, key: OnlineKey, hands: Hands) -> tuple[str, str]:
    """The former public key and the present one. Raises ``SignatureAwaited``."""
    record = make_private_dir(settings.server_dir / _RECORDS) / key.name
    if not record.exists():
        write_private(record, key.public())
    former = record.read_text("ascii")
    if key.public() == former:
        fresh = key.prepared()
        if fresh not in key.named(present_policy(settings)):
            gone = [former] if hands.at_once else []
            change_policy(settings, _without(key.added(fresh), gone), hands)
            if not hands.at_once:
                hands.overlap()
        key.take()
    if former in key.named(present_policy(settings)):
        if not hands.at_once:
            hands.overlap()
        change_policy(settings, Changes(without_keys=[former]), hands)
    record.unlink()
    return former, key.public()


def replace_signer(settings: ServerSettings, public: str, hands: Hands) -> str:
    """The signer's machine is lost, its key with it: another signer's is the only command key from this policy on."""
    gone = [one for one in present_policy(settings).command_keys if one != public]
    change_policy(settings, Changes(command_keys=[public], without_keys=gone), hands)
    write_private(settings.keys_dir / "command.pub", public + "\n")
    return public


def replace_approver(settings: ServerSettings, name: str, public: str, hands: Hands) -> bool:
    """Whether the person's former key is gone. First both count, so that what was signed is not lost; given again, the
    former one is dropped.
    """
    known = [one for one in present_policy(settings).approvers if same_person(one.name, name)]
    if not known:
        raise CeremonyRefused(f"the policy names no approver {name}")
    fresh = Approver(known[0].name, public, known[0].tenant)
    if public in {one.public for one in known} or hands.at_once:
        if [one.public for one in known] == [public]:
            raise CeremonyRefused(f"the policy names this key of {name} already, and no other")
        change_policy(settings, Changes(approvers=[fresh]), hands)
        return True
    change_policy(settings, Changes(also_approvers=[fresh]), hands)
    return False


def replace_break_glass(settings: ServerSettings, public: str, hands: Hands) -> bool:
    """Whether former keys are gone; as with an approver's."""
    known = present_policy(settings).break_glass_keys
    others = [one for one in known if one != public]
    if public in known or hands.at_once:
        change_policy(settings, Changes(break_glass_keys=[public], without_keys=others), hands)
        return True
    change_policy(settings, Changes(break_glass_keys=[public]), hands)
    return not others


def replace_root(settings: ServerSettings, fresh: Sequence[str], threshold: int, hands: Hands) -> Policy:
    """From this policy on only ``fresh`` sign, ``threshold`` of them. ``hands`` hold enough of the present root and of
    the next one. A key of the former root that still lies here is removed.
    """
    policy = change_policy(settings, Changes(roots=fresh, root_threshold=threshold), hands)
    forget_former_root(settings, policy)
    return policy


def forget_former_root(settings: ServerSettings, policy: Policy) -> None:
    seed = settings.keys_dir / "root.seed"
    if seed.exists() and policy.roots and load_key(seed).public_hex not in policy.roots:
        seed.unlink()


def change_policy(settings: ServerSettings, changes: Changes, hands: Hands) -> Policy:
    now: datetime = utc_now()
    wanted = drafted(present_policy(settings), changes, now)
    if not hands.keys:
        hands.draft.write_bytes(codec.to_json(wanted))
        raise SignatureAwaited(
            f"{hands.draft} is to be signed by the root ('policy sign') and imported ('policy import'); "
            "then give this command again"
        )
    document = codec.to_json(sign(POLICY_TYPE, codec.to_json(wanted), hands.keys))
    return take_policy(settings, document, f"policy {wanted.version}")


def _without(changes: Changes, gone: Sequence[str]) -> Changes:
    return Changes(command_keys=changes.command_keys, server_keys=changes.server_keys, without_keys=gone)
