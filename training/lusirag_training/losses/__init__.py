"""Contrastive losses over the queries, positives and hard negatives of a batch."""

from lusirag_training.losses.candidates import Candidates
from lusirag_training.losses.contrastive import ContrastiveLoss, Diagnostics, LossValue
from lusirag_training.losses.false_negatives import FalseNegatives

__all__ = ["Candidates", "ContrastiveLoss", "Diagnostics", "FalseNegatives", "LossValue"]
