"""An ingest worker that acknowledges before it commits: a run with it must end badly, or the runs prove nothing.

python -m tests.chaos.broken_ingest ingest --data DIR --name NAME
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fleet_server.ingest.bootstrap import make_worker
from fleet_server.ingest.flush import Flush, Flushed
from fleet_server.settings import load_settings

# Longer than acknowledgements are put together.
_PUT_TOGETHER_S = 0.25
# Between word and deed: as long as from one look at the promises to the next, so that a slow look sees it, too.
_HELD_S = 2.5


def main(arguments: Sequence[str]) -> None:
    _, _, data, _, name = arguments
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with make_worker(load_settings(Path(data)), name) as worker:
        honest = Flush.run

        def run(flush: Flush, messages: Sequence[Any]) -> Flushed:
            flushed = honest(flush, messages)
            worker._answer(flushed)
            time.sleep(_PUT_TOGETHER_S)
            worker._send_due_acks()
            time.sleep(_HELD_S)
            return flushed

        with patch.object(Flush, "run", run):
            worker.run(stop)


if __name__ == "__main__":
    main(sys.argv[1:])
