"""Measures live streams before a real gateway and TorchServe, paced as speech is."""
