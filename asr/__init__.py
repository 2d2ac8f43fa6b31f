"""Speech to text with Whisper: the pure core. It imports neither a server nor, outside `engines/`, torch."""
