"""The suites that lie in the package."""

from __future__ import annotations

from lusirag.embedding.catalog import ASSETS
from lusirag.evaluation.suite.description import SetDescription, SuiteDescription

# The Universal Declaration of Human Rights: its preamble and thirty articles in 92 languages.
UDHR = SuiteDescription("udhr", (SetDescription("udhr", ASSETS / "udhr.parquet", "text", item="article"),))
BUNDLED = {UDHR.name: UDHR}
