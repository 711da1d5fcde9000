"""Creditree: reinforcement learning that teaches small language models to reason, on the hardware people have."""

__version__ = "0.1.0"
