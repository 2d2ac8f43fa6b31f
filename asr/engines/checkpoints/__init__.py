"""Files of weights: what they hold, checked before use, and their conversion to other formats."""
