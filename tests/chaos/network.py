"""The agents' way to the broker, and what can be done to it.

With namespaces each agent has a network of its own, joined to the server's by two interfaces: packets are lost by
nftables, and delayed, reordered and doubled by `tests.chaos.tun_relay`. Without, a TCP relay stands in between, which
can be silent, slow, or hang up, but cannot lose a single packet.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final, Protocol

from simulators.tcp_proxy import TcpProxy
from tests.chaos.plan import Fault, Step

BROKER_ADDRESS: Final = "10.99.0.1"
LOSS_PCT: Final = 20
_RULES: Final = {
    Fault.PARTITION: "drop",
    Fault.LOSS: f"numgen random mod 100 < {LOSS_PCT} drop",
    Fault.RESET: "meta l4proto tcp reject with tcp reset",
}


class Network(Protocol):
    """``cannot``: the faults that it cannot make."""

    broker_host: str
    cannot: frozenset[Fault]

    def prefix(self, agent: int) -> list[str]:
        """What a command is to begin with to run on the agent's side."""

    def port(self, agent: int) -> int:
        """Where the agent finds the broker."""

    def begin(self, agent: int, step: Step) -> None: ...

    def end(self, agent: int, step: Step) -> None: ...

    def close(self) -> None: ...


class Namespaces:
    """Only inside `tests.chaos.enclosure`: nothing here is taken apart but by the end of its processes."""

    broker_host = BROKER_ADDRESS
    cannot: frozenset[Fault] = frozenset()

    def __init__(self, agents: int, broker_port: int, log: Path) -> None:
        self._port = broker_port
        self._log = log
        self._faults: list[Counter[Fault]] = [Counter() for _ in range(agents)]
        self._relays: dict[int, list[subprocess.Popen[bytes]]] = {}
        self._holders = [self._make(agent) for agent in range(agents)]
        _ip("address", "replace", f"{BROKER_ADDRESS}/32", "dev", "lo")

    def prefix(self, agent: int) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holders[agent].pid}/ns/net", "--"]

    def port(self, agent: int) -> int:
        return self._port

    def begin(self, agent: int, step: Step) -> None:
        if step.fault is Fault.BAD_LINE:
            self._relays.setdefault(agent, []).append(self._relay(agent, step))
            return
        self._faults[agent][step.fault] += 1
        self._apply(agent)

    def end(self, agent: int, step: Step) -> None:
        if step.fault is Fault.BAD_LINE:
            relay = self._relays[agent].pop()
            relay.kill()
            relay.wait()
            return
        self._faults[agent][step.fault] -= 1
        self._apply(agent)

    def close(self) -> None:
        for process in [*self._holders, *(one for relays in self._relays.values() for one in relays)]:
            process.kill()
            process.wait()

    def _make(self, agent: int) -> subprocess.Popen[bytes]:
        holder = subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"])
        near, far, net = f"near{agent}", f"far{agent}", f"10.99.{agent + 1}"
        inside = ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"]
        _until_apart(holder.pid)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", str(holder.pid))
        _ip("address", "add", f"{net}.1/24", "dev", near)
        _ip("link", "set", near, "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{net}.2/24", "dev", far),
            ("link", "set", far, "up"),
            ("route", "add", "default", "via", f"{net}.1"),
        ):
            subprocess.run([*inside, "ip", *words], check=True)
        return holder

    def _apply(self, agent: int) -> None:
        rules = [_RULES[fault] for fault, count in self._faults[agent].items() if count > 0]
        text = "flush ruleset\n"
        if rules:
            chains = "\n".join(
                f"chain {hook} {{ type filter hook {hook} priority 0; {'; '.join(rules)}; }}"
                for hook in ("input", "output")
            )
            text += f"table inet chaos {{\n{chains}\n}}\n"
        subprocess.run([*self.prefix(agent), "nft", "-f", "-"], input=text.encode(), check=True)

    def _relay(self, agent: int, step: Step) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.chaos.tun_relay", "--agent", str(agent)]
        command += ["--namespace", str(self._holders[agent].pid), "--seed", str(step.seed)]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)


class Relays:
    """A TCP relay for each agent."""

    broker_host = "127.0.0.1"
    cannot = frozenset({Fault.LOSS})

    def __init__(self, agents: int, broker_port: int) -> None:
        self._proxies = [TcpProxy((self.broker_host, broker_port), seed=agent) for agent in range(agents)]
        self._faults: list[Counter[Fault]] = [Counter() for _ in range(agents)]
        for proxy in self._proxies:
            proxy.start()

    def prefix(self, agent: int) -> list[str]:
        return []

    def port(self, agent: int) -> int:
        return self._proxies[agent].port

    def begin(self, agent: int, step: Step) -> None:
        self._faults[agent][step.fault] += 1
        self._apply(agent)

    def end(self, agent: int, step: Step) -> None:
        self._faults[agent][step.fault] -= 1
        self._apply(agent)

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.stop()

    def _apply(self, agent: int) -> None:
        proxy, faults = self._proxies[agent], self._faults[agent]
        is_bad = faults[Fault.BAD_LINE] > 0
        proxy.set_faults(
            blackhole=faults[Fault.PARTITION] > 0,
            refuse=faults[Fault.RESET] > 0,
            delay_s=0.2 if is_bad else 0.0,
            jitter_s=0.3 if is_bad else 0.0,
        )
        if faults[Fault.RESET] > 0:
            proxy.reset_connections()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _until_apart(pid: int) -> None:
    """`unshare` has left our network."""
    ours = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        time.sleep(0.005)
