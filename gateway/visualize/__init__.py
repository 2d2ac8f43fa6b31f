"""A recording and its transcript as one picture: waveform, segments, log-Mel spectrogram, time.

samples, Transcript ─layout→ Picture ─svg→ texts in every script
                                     └png→ pixels; a number where a text needs more than English letters
"""
