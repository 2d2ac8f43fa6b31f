"""Bulk transcription's rows, written once: what to transcribe → calls to gateways → one row for each file.

entries (with places) → calls → rows → row files, tables, subtitles.
`bulk_request.py --to` and `python -m bulk` are the doors.
"""
