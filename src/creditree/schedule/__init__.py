"""How many problems are drawn, which are dropped, and how long a completion may be."""

from creditree.schedule.batch_size import next_batch_size

__all__ = ["next_batch_size"]
