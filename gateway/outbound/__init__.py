"""Requests to addresses that strangers name: resolved, checked, pinned and bounded."""
