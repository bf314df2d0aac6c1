"""Search across languages on parallel texts and on questions with passages, from Parquet files: no hub, no network."""
