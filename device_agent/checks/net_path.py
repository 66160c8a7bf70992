"""The way to the acquirer's host in three timed parts: name, connection, TLS. One connection, no payment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge, unsupported_if_not_configured
from device_agent.drivers.terminal.messages import NetProbe, NetStage
from device_agent.errors import ActionFailed
from device_agent.families import HOST, TERMINAL
from protocol.identifiers import CodeId
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Limits, Outcome

# A handshake takes two round trips and two signatures.
TLS_SLOW_MS: Final = 3000.0
_HOST_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,126}[A-Za-z0-9])?"


@check(
    "net.path",
    zh="到收单主机的网络路径",
    en="Network path to the acquirer host",
    families=(HOST, TERMINAL),
    expected_s=2,
    timeout_s=40,
    unit="ms",
    params=(
        Parameter(
            "host",
            Words("主机（空为已配置的）", "Host (empty: the configured one)"),
            ParamType.TEXT,
            required=False,
            pattern=_HOST_PATTERN,
            max_length=128,
        ),
        Parameter("port", Words("端口", "Port"), ParamType.INTEGER, required=False, minimum=1, maximum=65535),
    ),
    explains=Words(
        "依次测域名解析、TCP连接和TLS握手，并计时", "Times name resolution, TCP connection and TLS handshake"
    ),
    finds=("term.NET_DNS", "term.HOST_TIMEOUT", "term.HOST_REFUSED", "term.TLS_HANDSHAKE"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    try:
        probe: NetProbe = ctx.device.net_probe(str(ctx.params.get("host", "")), int(ctx.params.get("port", 0)))
    except ActionFailed as refused:
        return [unsupported_if_not_configured(refused)]
    is_refused = probe.tcp is not None and "refused" in probe.tcp.detail
    return [
        _stage(ctx, "dns", probe.dns, "term.NET_DNS", "net.dns_ms"),
        _stage(ctx, "tcp", probe.tcp, "term.HOST_REFUSED" if is_refused else "term.HOST_TIMEOUT", "net.rtt_ms"),
        _stage(ctx, "tls", probe.tls, "term.TLS_HANDSHAKE", None),
    ]


def _stage(ctx: ActionContext, item: str, stage: NetStage | None, code: str, metric: str | None) -> Finding:
    if stage is None:
        return Finding(Outcome.ERROR, item, evidence="not tried: the part before it failed")
    took_ms = round(stage.ms, 1)
    if not stage.ok:
        return Finding(Outcome.FAIL, item, took_ms, "ms", evidence=stage.detail, codes=(CodeId(code),))
    normal = judge(ctx, metric, took_ms).limits if metric else None
    limits = normal or Limits(high=TLS_SLOW_MS)
    is_slow = limits.high is not None and took_ms > limits.high
    return Finding(Outcome.WARN if is_slow else Outcome.PASS, item, took_ms, "ms", limits, stage.detail)
