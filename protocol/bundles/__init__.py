"""Bundles: logs, configuration, versions and traces of one link in one file, made at the device, read at the server.

Both sides hold to the same bounds and the same format (`archive`); the manifest says what is in it and what is not.
"""

from __future__ import annotations

from typing import Final

from protocol.identifiers import ActionName

# A check of class 0 that makes a bundle and hands it to the agent's uploader.
COLLECT: Final = ActionName("bundle.collect")
# The parameter that only the server's own dispatcher fills in, on the way to the signer.
GRANT: Final = "grant"
