"""What each token was worth: functions from a judged tree to advantages."""

from creditree.credit.process import process_value

__all__ = ["process_value"]
