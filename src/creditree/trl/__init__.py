"""Scripts for TRL's GRPOTrainer, with another method: ``from creditree.trl import CreditreeTrainer``, without TRL."""

from creditree.trl.args import CreditreeConfig
from creditree.trl.trainer import CreditreeTrainer

__all__ = ["CreditreeConfig", "CreditreeTrainer"]
