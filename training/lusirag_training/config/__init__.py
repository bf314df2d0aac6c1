"""The YAML of a training stage, read and checked as a whole before anything is loaded."""

from lusirag_training.config.reading import read_config
from lusirag_training.config.stages import AlignmentConfig, ContrastiveConfig, StageConfig

__all__ = ["AlignmentConfig", "ContrastiveConfig", "StageConfig", "read_config"]
