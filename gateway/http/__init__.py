"""HTTP on the way in (forms) and on the way out (answers, events, errors)."""
