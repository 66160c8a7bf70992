"""The protocol's version: one integer, and a dated line for each step saying what the peer may assume.

1 (2026-11-28)  Topics, hello and welcome, two streams with the server's own acknowledgement, signed commands, as here.
                A record saved from a damaged spool names its first number; a list of gaps ends with the first unseen.
                A flow says when it was issued; a link that has taken a dated one takes no older and no undated one.
                A flow says over how long the first tries are spread.
                A batch says how the link's clock stands to the server's, where the welcome came late.
1 (2026-11-29)  An authorisation names who asked, its actions in a list, and its devices by name or by a Merkle root; an
                approval names its execution. A command of class 1 or 2 says who asks; one of class 1 may ask for the
                merchant's consent instead of carrying an authorisation. A policy names the next root, break-glass keys
                and how many lift a stop. Policies and stops travel on `down/trust`; a hello says which are known.
1 (2026-11-30)  A report on an execution says whether its check before found nothing wrong and it goes on all the same.
                A policy may name, by tenant, the first root of the repository of software.
                A policy may say what time it is; a link whose signed time is ahead of that goes back to it.
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
# Of the programs, as in pyproject.toml (tested): asking the installation for it costs an agent half a megabyte.
RELEASE = "0.1.0"
# The server speaks the current and the previous version; before version 2 there is no previous one.
SERVER_SPEAKS: tuple[int, ...] = (1,)
