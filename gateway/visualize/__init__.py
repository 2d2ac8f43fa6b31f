"""A recording and its transcript as one picture: waveform, segments, log-Mel spectrogram, time.

samples, Transcript ─layout→ Picture ─svg→ text that scales
                                     └png→ pixels; segments are numbered, since it draws no letters
"""
