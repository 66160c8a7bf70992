"""The gateway's agent with three serial devices, beside a process that only imports the same libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.acceptance.demo_client import Demo
from tests.benchmarks.figures import Figure

IDLE_S = 20.0
# What the agent's dependencies weigh connected: the libraries, a TLS context and an MQTT client, none of our code.
FLOOR = """
import sys, ssl, sqlite3, json, logging, threading, tomllib, argparse
import msgspec, psutil, serial, paho.mqtt.client
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion
client = paho.mqtt.client.Client(CallbackAPIVersion.VERSION2, protocol=paho.mqtt.client.MQTTv5)
client.tls_set_context(ssl.create_default_context())
Ed25519PrivateKey.generate().sign(b"x")
sqlite3.connect(":memory:").execute("select 1")
psutil.virtual_memory()
print("up", flush=True)
sys.stdin.read()
"""


def pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    columns = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")


def measure(demo: Demo) -> list[Figure]:
    for other in ("esign1", "smart1"):
        demo.break_(other, "agent_killed")
    (pid,) = demo.processes("device_agent", "run", "gw1")
    with subprocess.Popen([sys.executable, "-c", FLOOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as floor:
        assert floor.stdout is not None
        floor.stdout.readline()
        before = cpu_s(pid)
        time.sleep(IDLE_S)
        busy = (cpu_s(pid) - before) / IDLE_S * 100
        ours, imports = pss_mb(pid), pss_mb(floor.pid)
        floor.kill()
    for other in ("esign1", "smart1"):
        demo.mend(other)
    return [
        Figure("agent with three serial devices, PSS", ours, "MB", "at most 50 MB"),
        Figure("the same imports without our code, PSS", imports, "MB"),
        Figure("agent beside its imports", ours / imports, "x", "at most 1.25x"),
        Figure("idle agent, three lines polled each 0.5 s", busy, "% of a core"),
    ]
