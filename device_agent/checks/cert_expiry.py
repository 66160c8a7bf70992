"""How long the certificate that the device shows to its host is still valid, on the trusted clock."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge, unsupported_if_not_configured
from device_agent.errors import ActionFailed
from device_agent.families import HOST, TERMINAL

_DAY_MS = 86_400_000


@check(
    "cert.expiry",
    zh="通讯证书有效期",
    en="Certificate expiry",
    families=(HOST, TERMINAL),
    expected_s=0.1,
    timeout_s=10,
    unit="d",
    finds=("agent.CERT_EXPIRED", "term.TLS_CERT_SOON"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    try:
        not_after_ms = ctx.device.certificate().not_after_ms
    except ActionFailed as refused:
        return [unsupported_if_not_configured(refused)]
    days_left = (not_after_ms - ctx.trusted_ms) / _DAY_MS
    return [judge(ctx, "cert.tls_days_left", round(days_left, 1))]
