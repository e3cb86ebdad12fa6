"""Makes Ogg files reproducible: libsndfile draws a random serial number for each stream it writes."""

from __future__ import annotations

import zlib

__all__ = ["fix_serial", "whole_pages"]

_SERIAL, _CHECKSUM, _SEGMENTS = slice(14, 18), slice(22, 26), 26
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def fix_serial(content: bytes, serial: int = 0) -> bytes:
    """Return an Ogg file with another stream serial number and checksum on every page (RFC 3533, section 6)."""
    pages = []
    start = 0
    while start < len(content):
        stop = _page_end(content, start)
        page = bytearray(content[start:stop])
        page[_SERIAL] = serial.to_bytes(4, "little")
        page[_CHECKSUM] = bytes(4)
        page[_CHECKSUM] = _checksum(page).to_bytes(4, "little")
        pages.append(page)
        start = stop
    return b"".join(pages)


def whole_pages(content: bytes | bytearray) -> int:
    """How many bytes at the beginning of a stream make whole pages."""
    start = 0
    while start + _SEGMENTS < len(content) and (stop := _page_end(content, start)) <= len(content):
        start = stop
    return start


def _page_end(content: bytes | bytearray, start: int) -> int:
    header = start + _SEGMENTS + 1 + content[start + _SEGMENTS]
    if header > len(content):  # the table of segments is cut
        return header
    return header + sum(content[start + _SEGMENTS + 1 : header])


def _checksum(page: bytearray) -> int:
    """CRC-32 as Ogg computes it: zlib's polynomial with the bits in the other order, starting from zero, not inverted."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
