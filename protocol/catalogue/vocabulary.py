"""The closed sets of the catalogue: classes of terminal, owners of a fault, severities, code families.

The words for people stand beside each member, so that no page shows an internal name.
"""

from __future__ import annotations

from enum import Enum
from typing import Self


class Titled(Enum):
    """An enumeration whose members carry a title in Chinese and in English."""

    title_zh: str
    title_en: str

    def __new__(cls, value: str, title_zh: str, title_en: str) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.title_zh = title_zh
        member.title_en = title_en
        return member


class TerminalClass(Titled):
    E_SIGN = "e_sign", "电签POS", "e-sign terminal"
    TRADITIONAL = "traditional", "传统POS", "traditional terminal"
    SMART = "smart", "智能POS", "smart terminal"
    KIOSK = "kiosk", "自助终端", "kiosk"


class Owner(Titled):
    """Who has to act. It decides whether anybody is sent anywhere."""

    DEVICE = "device", "设备", "device"
    NETWORK = "network", "网络", "network"
    ACQUIRER = "acquirer", "收单机构", "acquirer"
    CARDHOLDER = "cardholder", "持卡人", "cardholder"
    MERCHANT = "merchant", "商户", "merchant"
    NONE = "none", "无需处理", "nobody"


class Severity(Titled):
    INFO = "info", "提示", "info"
    MINOR = "minor", "一般", "minor"
    MAJOR = "major", "重要", "major"
    CRITICAL = "critical", "严重", "critical"

    @property
    def rank(self) -> int:
        """0 for the mildest, rising."""
        return list(Severity).index(self)


class Family(Titled):
    """Whose numbering a code belongs to; the same digits mean other things in another family."""

    UNIONPAY39 = "iso8583_field39_unionpay", "银联应答码", "response code (field 39)"
    TERMINAL = "terminal_local", "终端错误", "terminal error"
    ZVT = "zvt_result_code", "ZVT结果码", "ZVT result code"
    ESCPOS = "escpos_realtime_status", "打印机状态", "printer status (ESC/POS)"
    CME = "cme_error", "通讯模块错误", "modem error (+CME)"
    PAX_PRINTER = "pax_printer", "内置打印机错误", "built-in printer error"
    TRANSBANK = "transbank_pos", "Transbank应答码", "Transbank code"
    ECR17 = "ecr17_status", "ECR17状态", "ECR17 status"
    AGENT = "agent", "代理发现", "found by the agent"
