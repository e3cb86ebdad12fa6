"""Pages of Ogg files (RFC 3533): serial numbers that are not random, and positions of Opus that do not add up, set right."""

from __future__ import annotations

import zlib

__all__ = ["fix_positions", "fix_serial", "whole_pages"]

_POSITION, _SERIAL, _CHECKSUM, _SEGMENTS = slice(6, 14), slice(14, 18), slice(22, 26), 26
_KIND, _LAST = 5, 4
_UNKNOWN = -1
"""Position of a page on which no packet ends."""
_OPUS_RATE = 48000
_SILK_MS, _HYBRID_MS, _CELT_MS = (10.0, 20.0, 40.0, 60.0), (10.0, 20.0), (2.5, 5.0, 10.0, 20.0)
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def fix_serial(content: bytes, serial: int = 0) -> bytes:
    """Return an Ogg file with another stream serial number and checksum on every page (section 6)."""
    pages = _pages(content)
    for page in pages:
        page[_SERIAL] = serial.to_bytes(4, "little")
        _sign(page)
    return b"".join(pages)


def fix_positions(content: bytes) -> bytes | None:
    """Return an Opus file whose pages say how many samples have ended with them; None if that is what they say.

    Some encoders write positions that are not the sum of the packets before them, which libsndfile refuses to read. A stream
    that was cut off its beginning keeps its offset, and the last page what it says to leave out (RFC 7845, section 4).
    """
    pages = _pages(content)
    if len(pages) < 3 or pages[0][_SEGMENTS + 2 :][:8] != b"OpusHead" or len({bytes(page[_SERIAL]) for page in pages}) > 1:
        return None
    open_packet, total, offset, changed = b"", 0, None, False
    for page in pages[2:]:
        packets, open_packet = _packets(page, open_packet)
        counts = [_samples(packet) for packet in packets]
        told = int.from_bytes(page[_POSITION], "little", signed=True)
        if not counts or told == _UNKNOWN:
            total += sum(counts)
            continue
        if offset is None:
            offset = told - sum(counts) if told - sum(counts) >= counts[0] else 0
            total += offset
        total += sum(counts)
        position = min(told, total) if page[_KIND] & _LAST else total
        if position != told:
            page[_POSITION] = position.to_bytes(8, "little", signed=True)
            _sign(page)
            changed = True
    return b"".join(pages) if changed else None


def whole_pages(content: bytes | bytearray) -> int:
    """How many bytes at the beginning of a stream make whole pages."""
    start = 0
    while start + _SEGMENTS < len(content) and (stop := _page_end(content, start)) <= len(content):
        start = stop
    return start


def _pages(content: bytes) -> list[bytearray]:
    pages, start = [], 0
    while start + _SEGMENTS < len(content) and (stop := _page_end(content, start)) <= len(content):
        pages.append(bytearray(content[start:stop]))
        start = stop
    return pages


def _packets(page: bytearray, begun: bytes) -> tuple[list[bytes], bytes]:
    """Packets that end on a page, and what of one is on it that does not; `begun` is what of the first was on pages before."""
    table = page[_SEGMENTS + 1 : _SEGMENTS + 1 + page[_SEGMENTS]]
    start, packets = _SEGMENTS + 1 + len(table), []
    for size in table:
        begun += bytes(page[start : start + size])
        start += size
        if size < 255:
            packets.append(begun)
            begun = b""
    return packets, begun


def _samples(packet: bytes) -> int:
    """Length of an Opus packet at 48 kHz, by its first bytes (RFC 6716, section 3.1)."""
    if not packet:
        return 0
    kind, count = packet[0] >> 3, packet[0] & 3
    if kind < 12:
        milliseconds = _SILK_MS[kind % 4]
    elif kind < 16:
        milliseconds = _HYBRID_MS[kind % 2]
    else:
        milliseconds = _CELT_MS[kind % 4]
    frames = (packet[1] & 63 if len(packet) > 1 else 0) if count == 3 else min(count, 1) + 1
    return round(frames * milliseconds * _OPUS_RATE / 1000)


def _sign(page: bytearray) -> None:
    """Write a page's checksum."""
    page[_CHECKSUM] = bytes(4)
    page[_CHECKSUM] = _checksum(page).to_bytes(4, "little")


def _page_end(content: bytes | bytearray, start: int) -> int:
    header = start + _SEGMENTS + 1 + content[start + _SEGMENTS]
    if header > len(content):  # the table of segments is cut
        return header
    return header + sum(content[start + _SEGMENTS + 1 : header])


def _checksum(page: bytearray) -> int:
    """CRC-32 as Ogg computes it: zlib's polynomial with the bits in the other order, starting from zero, not inverted."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
