"""Who may call, how much, and how much may wait."""
