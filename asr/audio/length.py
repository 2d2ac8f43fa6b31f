"""How long an upload lasts, found without decoding it: the cheap refusal of compressed bombs.

A few megabytes of FLAC or Opus can hold a day of silence, and four hours of 16 kHz samples are 460 MB, so the
length must be known before anything is decoded. Three sources, the least trusted first:

- The header's duration is believed only when it says "too long", and only for containers that store it.
  (Elsewhere FFmpeg estimates it from the bit rate, ten times too long for an mp3 that starts silent.)
- The sum of the packets' durations, which the demuxer reads without decoding. It is exact for honest files of
  any density. A floor on bytes per second would refuse honest recordings with ten minutes of silence: FLAC
  stores those at 2 to 140 bytes per second, Opus with DTX at 280. Holes in the timestamps count too
  (asr.audio.clock): a few hundred bytes may ask for hours of silence.
- A container that lies about its packets (an mp4 whose sample table says 1 ms for each) is found while
  decoding: `max_plausible_seconds`, a multiple of the packets' sum, bounds the decoded audio.

To refuse a day of silence takes a millisecond where the length is stored, 0.6 s of CPU where it is not, and
2 s in the worst case found (20 ms Opus packets in a live WebM), in 60 to 80 MB.
"""

from __future__ import annotations

from dataclasses import dataclass

from asr.audio.clock import Clock, with_next
from asr.audio.reader import Packets, Upload
from asr.constants import SAMPLE_RATE
from asr.errors import TooLarge

# Containers whose duration FFmpeg reads from the file instead of estimating it from the bit rate.
LENGTH_WRITTEN_IN = {"flac", "ogg", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "wv", "tta", "caf"}
MICROSECONDS = 1_000_000
PRIMING_SECONDS = 1.0  # packets include the encoder's start-up samples, which the decoder drops
MAX_PACKET_SECONDS = 60.0  # a packet that claims more (a pause in a recording) does not hold it
MIN_MEAN_PACKET_SECONDS = 0.0025  # Opus' shortest; more packets than this allows only cost time
PLAUSIBLE_RATIO = 2.0
PLAUSIBLE_SLACK_SECONDS = 60.0
MAX_EXPECTED_HOLE_SECONDS = 60.0
MIN_BYTES_PER_SECOND = 600  # AMR's lowest rate; counts only where packets carry no duration


@dataclass(frozen=True, slots=True)
class StoredLength:
    """An upload's length according to its packets."""

    seconds: float  # sum over all packets
    max_plausible_seconds: float  # if more is decoded, the packets lied


def stored_length(upload: Upload, size: int, max_seconds: float) -> StoredLength:
    """The length of the audio track of an upload of `size` bytes, which is read to its end.

    Raises TooLarge as soon as it exceeds `max_seconds`.
    """
    declared = _declared_seconds(upload)
    if declared > max_seconds + PRIMING_SECONDS:
        raise too_long(f"{declared:.0f}", max_seconds)
    seconds, has_unsized = _track_seconds(upload, max_seconds)
    plausible = PLAUSIBLE_RATIO * seconds + PLAUSIBLE_SLACK_SECONDS
    if has_unsized:
        plausible = max(plausible, PLAUSIBLE_RATIO * declared, size / MIN_BYTES_PER_SECOND)
    return StoredLength(seconds, plausible)


def _declared_seconds(upload: Upload) -> float:
    """The duration stored in the file; 0 if there is none or FFmpeg only estimates it."""
    container = upload.container
    if container.duration is None or container.format.name not in LENGTH_WRITTEN_IN:
        return 0.0
    return max(0.0, container.duration / MICROSECONDS)


def _track_seconds(upload: Upload, max_seconds: float) -> tuple[float, bool]:
    """Seconds of all packets and of the holes between them, and whether some packets have no duration.

    Of packets without a duration only the timestamps count.
    """
    time_base = upload.stream.time_base
    tick = float(time_base * SAMPLE_RATE) if time_base else 0.0  # in samples
    max_packets = round((max_seconds + PRIMING_SECONDS) / MIN_MEAN_PACKET_SECONDS)
    max_samples = (max_seconds + PRIMING_SECONDS) * SAMPLE_RATE
    clock = Clock(upload)
    end, longest_hole, has_unsized = 0.0, 0.0, False
    packets = Packets(upload)
    for packet, following in with_next(packet for packet in packets if packet.size):
        place = clock.place(clock.time(packet), end, clock.time(following))
        longest_hole = max(longest_hole, place - end)
        end = place
        ticks = packet.duration
        if ticks and ticks > 0 and tick:
            end += min(ticks * tick, MAX_PACKET_SECONDS * SAMPLE_RATE)
        else:
            has_unsized = True
        if end > max_samples:
            raise too_long(f"more than {max_seconds:g}", max_seconds, longest_hole / SAMPLE_RATE)
        if packets.num_read > max_packets:
            raise TooLarge(f"the upload has more than {max_packets} packets", param="file")
    return end / SAMPLE_RATE, has_unsized


def too_long(found: str, limit_s: float, hole_s: float = 0.0) -> TooLarge:
    """The refusal of audio longer than `limit_s` seconds; `found` is a number or "more than …".

    hole_s: the longest silence that timestamps ask for; the message names a surprising one.
    """
    hole = f"; its timestamps leave a hole of {hole_s:.0f} s" if hole_s > MAX_EXPECTED_HOLE_SECONDS else ""
    return TooLarge(f"the audio lasts {found} s, this server takes at most {limit_s:g} s{hole}", param="file")
