"""Writes what a payment application writes: one log a class, in its encoding, with card numbers where careless code
puts them (published test numbers only), and a transaction journal beside it that nothing but payments may touch.

Files are appended to; `rotate` is what the terminal's own purge does. A log that cannot be written is no reason for a
terminal to stop: the line is counted as lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from protocol.catalogue.vocabulary import TerminalClass
from simulators.terminal_models import TerminalModel
from simulators.terminal_state import JournalEntry

# Published test numbers, which no bank issued.
TEST_CARDS = ("4111111111111111", "5555555555554444", "6200000000000005", "378282246310005")

# What the application says when it meets an error: on traditional terminals in Chinese, on the others in English.
ERROR_TEXTS: Mapping[str, tuple[str, str]] = {
    "term.HOST_TIMEOUT": ("主机应答超时", "wait response timeout 60000ms"),
    "term.HOST_REFUSED": ("主机拒绝连接", "connect failed: ECONNREFUSED"),
    "term.TLS_HANDSHAKE": ("安全连接建立失败", "SSL handshake failed: certificate verify failed"),
    "term.NET_DNS": ("域名解析失败", "resolve failed: EAI_NONAME"),
    "term.NET_NO_PDP": ("拨号失败", "pdp activate failed"),
    "term.NET_NO_SIM": ("未检测到SIM卡", "sim not detected"),
    "term.STORAGE_FULL": ("存储空间不足", "write failed: ENOSPC"),
    "term.STORAGE_IO": ("存储读写错误", "write failed: EIO"),
    "term.APP_CRASH": ("应用异常退出", "FATAL EXCEPTION: main"),
    "term.APP_DATA_CORRUPT": ("应用数据损坏", "database disk image is malformed"),
    "term.PRN_NO_PAPER": ("打印机缺纸", "printer status 0xF0 no paper"),
    "term.EMV_ODA_FAIL": ("脱机数据认证失败", "offline data authentication failed"),
    "term.SIGN_IN_NEEDED": ("请签到", "sign in required"),
    "term.PED_NO_TPK": ("工作密钥缺失", "working key missing"),
    "term.ICC_NO_ATR": ("IC卡无复位应答", "icc reset failed: no ATR"),
}
_BY_READING: Mapping[tuple[str, object], str] = {
    ("net.dns_ok", 0): "term.NET_DNS",
    ("prn.status", "paper_out"): "term.PRN_NO_PAPER",
    ("modem.sim_state", "failure"): "term.NET_NO_SIM",
    ("modem.sim_state", "absent"): "term.NET_NO_SIM",
    ("ped.keys_ok", "no_tpk"): "term.PED_NO_TPK",
}


def logged_code(metric: str, value: object) -> str | None:
    """The code under which the application logs what this reading shows."""
    return _BY_READING.get((metric, value))


class AppLog:
    """``path`` None: a terminal without files, for tests of everything else."""

    def __init__(self, path: Path | None, model: TerminalModel) -> None:
        self._path = path
        self._model = model
        self.lost_lines = 0

    @property
    def journal_path(self) -> Path | None:
        return None if self._path is None else self._path.with_name(self._path.stem + ".journal")

    def payment_begins(self, at: datetime, trace: int, amount_cents: int, card: str) -> None:
        amount = f"{amount_cents / 100:.2f}"
        if self._model.terminal_class is TerminalClass.TRADITIONAL:
            self.write(at, f"消费 流水={trace:06d} 金额={amount} 卡号={card}")
        else:
            self.write(at, f"type=SALE trace={trace:06d} amount={amount} card={card}", tag="PayTxn")

    def answered(self, at: datetime, trace: int, response_code: str, latency_ms: int) -> None:
        if self._model.terminal_class is TerminalClass.TRADITIONAL:
            self.write(at, f"主机应答 应答码={response_code} 流水={trace:06d} 耗时{latency_ms}ms")
        else:
            self.write(at, f"recv field39={response_code} trace={trace:06d} cost={latency_ms}ms", tag="PayHost")

    def failed(self, at: datetime, code: str) -> None:
        texts = ERROR_TEXTS.get(code)
        if texts is not None:
            is_traditional = self._model.terminal_class is TerminalClass.TRADITIONAL
            self.write(at, texts[0] if is_traditional else texts[1], level="E", tag="PayErr")

    def started(self, at: datetime, version: str) -> None:
        is_traditional = self._model.terminal_class is TerminalClass.TRADITIONAL
        self.write(at, f"应用启动 版本={version}" if is_traditional else f"application start version={version}")

    def write(self, at: datetime, text: str, *, level: str = "I", tag: str = "PayCore") -> None:
        milliseconds = at.microsecond // 1000
        match self._model.terminal_class:
            case TerminalClass.TRADITIONAL:
                line = f"[{at:%m-%d %H:%M:%S}] {text}"
            case TerminalClass.E_SIGN:
                line = f"{at:%Y-%m-%d %H:%M:%S}.{milliseconds:03d} [{level}] {tag}: {text}"
            case _:
                line = f"{at:%m-%d %H:%M:%S}.{milliseconds:03d}  2301  2345 {level} {tag}: {text}"
        self._append(self._path, line)

    def keep(self, entry: JournalEntry) -> None:
        line = f"{entry.trace:06d},{entry.amount_cents},{entry.response_code},{entry.masked_card}"
        self._append(self.journal_path, line)

    def rotate(self) -> None:
        """The present log becomes `.1`, the one before is gone; the journal is not a log."""
        if self._path is None or not self._path.exists():
            return
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._path.touch()

    def tail(self, lines: int) -> list[str]:
        if self._path is None or not self._path.exists():
            return []
        with self._path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 64 * 1024))
            text = file.read().decode(self._model.log_encoding, errors="replace")
        return [line[:500] for line in text.splitlines()[-lines:]]

    def _append(self, path: Path | None, line: str) -> None:
        if path is None:
            return
        try:
            with path.open("ab") as file:
                file.write((line + "\n").encode(self._model.log_encoding, errors="replace"))
        except OSError:
            self.lost_lines += 1
