"""Approximate search: which structure each segment gets, what it needs in memory, and how much it really finds.

A segment is searched exactly, or through an immutable FAISS structure beside its vectors (kinds.py chooses, building.py
builds, stored.py reads). What such a structure proposes is scored again from the stored vectors (nearest.py), so scores
are exact cosines everywhere. recall.py measures, for each language of the documents, how much is missed; tuning.py
searches harder until that is little enough.
"""
