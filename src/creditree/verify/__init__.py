"""Judging completions: numbers, texts, choices, mathematics, programs, or any reward function with TRL's signature.

Nothing is imported here: a process that judges imports its own part alone, and starts sooner.
"""
