"""Speech while it is spoken: chunks of a stream → samples → turns, and the words of an open turn."""
