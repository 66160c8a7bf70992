"""Where one ESC/POS command ends and the next begins (Epson command reference).

Only lengths live here: a printer that does not implement a command must still skip its parameters, or they would come
out as text. An unknown command is taken as two bytes long, as printers do.
"""

from __future__ import annotations

_ESC, _FS, _GS, _DLE = 0x1B, 0x1C, 0x1D, 0x10
# Number of parameter bytes behind prefix and letter; letters not listed have none.
_ESC_PARAMETERS = {
    **dict.fromkeys(b" !%-3?AEGJMQRSTUVacdert{", 1),
    **dict.fromkeys(b"$\\", 2),
    **dict.fromkeys(b"p", 3),
    **dict.fromkeys(b"W", 8),
}
_GS_PARAMETERS = {
    **dict.fromkeys(b"!BHIabfhrw", 1),
    **dict.fromkeys(b"$LPW\\", 2),
    **dict.fromkeys(b"^", 3),
    **dict.fromkeys(b"g", 4),
}
_FS_PARAMETERS = {**dict.fromkeys(b"!-CW", 1), **dict.fromkeys(b"Sp", 2)}


def next_command(data: bytes) -> int:
    """Length of the command that begins `data`, 0 while it is incomplete."""
    if data[0] not in {_ESC, _FS, _GS, _DLE}:
        return 1
    if len(data) < 2:
        return 0
    if data[0] == _GS:
        length = _gs_length(data)
    elif data[0] == _DLE:
        length = 5 if data[1] == 0x14 else 1
    else:
        table = _ESC_PARAMETERS if data[0] == _ESC else _FS_PARAMETERS
        length = 2 + table.get(data[1], 0)
        if data[1] == ord("*"):
            length = _bit_image_length(data)
    return length if 0 < length <= len(data) else 0


def _gs_length(data: bytes) -> int:
    letter = data[1]
    if letter == ord("V"):
        return 0 if len(data) < 3 else 4 if data[2] in {65, 66, 97, 98, 103, 104} else 3
    if letter in b"(8":
        head = 5 if letter == ord("(") else 7
        return 0 if len(data) < head else head + int.from_bytes(data[3:head], "little")
    if letter == ord("v"):
        if len(data) < 8:
            return 0
        return 8 + int.from_bytes(data[4:6], "little") * int.from_bytes(data[6:8], "little")
    if letter == ord("k"):
        return _barcode_length(data)
    return 2 + _GS_PARAMETERS.get(letter, 0)


def _barcode_length(data: bytes) -> int:
    if len(data) < 4:
        return 0
    if data[2] >= 65:
        return 4 + data[3]
    end = data.find(b"\0", 3)
    return 0 if end < 0 else end + 1


def _bit_image_length(data: bytes) -> int:
    if len(data) < 5:
        return 0
    columns = int.from_bytes(data[3:5], "little")
    return 5 + columns * (3 if data[2] in {32, 33} else 1)
