"""The demo's own approver, whose key lies in the demo's folder: at the beginning of a shift it signs a permit for
whatever the demo's devices can do. A demonstration has nobody else to ask.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol import codec
from protocol.authorisations import Authorisation
from protocol.commands import AUTHORISATION_TYPE
from protocol.signing import Approver, Policy, SigningKey, sign

NAME = "demo approver"


@dataclass(frozen=True, slots=True)
class DemoApprover:
    key: SigningKey

    @property
    def policy(self) -> Policy:
        """What can be known of it here: that this key approves."""
        public = self.key.public_hex
        return Policy(1, 0, [public], [public], [Approver(NAME, public)])

    def sign(self, document: Authorisation) -> str:
        return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), [self.key])).decode()
