"""What counts as a small and as a large upload."""

SMALL_BYTES = 1_000_000  # half a minute of 16 kHz WAV: read and written on the event loop
LARGE_BYTES = 4_000_000  # half an hour of compressed speech, two minutes of WAV: waits behind small uploads
