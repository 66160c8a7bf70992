"""An ingest worker as a process of its own, to be killed: ``ingest_child.py SETTINGS.json``."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path

from fleet_server.db import open_engine
from fleet_server.settings import ServerSettings
from tests.support.ingest_worker import worker_on


def main() -> None:
    values = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    settings = ServerSettings(**{**values, "data": Path(values["data"])})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker_on(open_engine(settings.database_url), settings).run(stop)


if __name__ == "__main__":
    main()
