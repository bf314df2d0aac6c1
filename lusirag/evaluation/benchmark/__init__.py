"""Published benchmarks: their data sets, languages and instructions, how mteb runs them, what they sum to."""
