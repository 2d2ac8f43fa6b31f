"""How long an upload lasts, found without decoding it: the cheap refusal of compressed bombs.

A few megabytes of FLAC or Opus can hold a day of silence, and four hours of 16 kHz samples are 460 MB, so the
length must be known before anything is decoded. Three sources, weakest trust first:

- What the header declares is believed only when it says "too long", and only for containers that write the
  length down (FFmpeg guesses it from the bit rate elsewhere, ten times wrong on an mp3 that starts silent).
- The sum of the packets' own durations, which the demuxer reads without decoding. It is exact for honest
  files, however dense: a floor on bytes per second would also refuse honest recordings that are silent for
  ten minutes (FLAC stores those at 2 to 140 bytes per second, Opus with DTX at 280).
- A container that lies about its packets (an mp4 whose sample table says 1 ms for each) is found while
  decoding: `max_plausible_seconds` bounds what it may become, a multiple of what its packets announced.

Refusing a day of silence takes a millisecond where the length is declared, 0.6 s of CPU where it is not, and
2 s in the worst case found (20 ms Opus packets in a live WebM), in 60 to 80 MB.
"""

from __future__ import annotations

from dataclasses import dataclass

from asr.errors import TooLarge
from asr.media_reader import Packets, Upload

# Containers whose duration FFmpeg reads from the file instead of estimating it from the bit rate.
LENGTH_WRITTEN_IN = {"flac", "ogg", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "wv", "tta", "caf"}
MICROSECONDS = 1_000_000
PRIMING_SECONDS = 1.0  # packets also count the encoder's start-up samples, which the decoder drops
MAX_PACKET_SECONDS = 60.0  # a single packet that claims more (a pause in a recording) holds no such audio
MIN_MEAN_PACKET_SECONDS = 0.0025  # Opus' shortest; more packets than this allows only cost time
PLAUSIBLE_RATIO = 2.0
PLAUSIBLE_SLACK_SECONDS = 60.0
MIN_BYTES_PER_SECOND = 600  # AMR's lowest rate; counts only where packets carry no duration


@dataclass(frozen=True, slots=True)
class StoredLength:
    """What an upload's packets say of its length."""

    seconds: float  # sum over all packets
    max_plausible_seconds: float  # more decoded audio than this: the packets lied


def stored_length(upload: Upload, size: int, max_seconds: float) -> StoredLength:
    """The length of the audio track of an upload of `size` bytes, which is read to its end.

    Raises TooLarge as soon as it exceeds `max_seconds`.
    """
    declared = _declared_seconds(upload)
    if declared > max_seconds + PRIMING_SECONDS:
        raise too_long(f"{declared:.0f}", max_seconds)
    seconds, has_unsized = _packet_seconds(upload, max_seconds)
    plausible = PLAUSIBLE_RATIO * seconds + PLAUSIBLE_SLACK_SECONDS
    if has_unsized:
        plausible = max(plausible, PLAUSIBLE_RATIO * declared, size / MIN_BYTES_PER_SECOND)
    return StoredLength(seconds, plausible)


def _declared_seconds(upload: Upload) -> float:
    """The duration written in the file, 0 where none is or it is only an estimate."""
    container = upload.container
    if container.duration is None or container.format.name not in LENGTH_WRITTEN_IN:
        return 0.0
    return max(0.0, container.duration / MICROSECONDS)


def _packet_seconds(upload: Upload, max_seconds: float) -> tuple[float, bool]:
    """Seconds of all packets together, and whether some carry no duration."""
    time_base = upload.stream.time_base
    tick = float(time_base) if time_base else 0.0
    max_packets = round((max_seconds + PRIMING_SECONDS) / MIN_MEAN_PACKET_SECONDS)
    seconds, has_unsized = 0.0, False
    packets = Packets(upload)
    for packet in packets:
        if not packet.size:
            continue
        ticks = packet.duration
        if ticks and ticks > 0 and tick:
            seconds += min(ticks * tick, MAX_PACKET_SECONDS)
        else:
            has_unsized = True
        if seconds > max_seconds + PRIMING_SECONDS:
            raise too_long(f"more than {max_seconds:g}", max_seconds)
        if packets.num_read > max_packets:
            raise TooLarge(f"the upload has more than {max_packets} packets", param="file")
    return seconds, has_unsized


def too_long(found: str, limit_s: float) -> TooLarge:
    """The refusal of audio longer than `limit_s` seconds; `found` is a number or "more than …"."""
    return TooLarge(f"the audio lasts {found} s, this server takes at most {limit_s:g} s", param="file")
