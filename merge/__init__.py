"""The bottom layer of Otto: what may land. Path patterns, the write gate, merging and the swap."""
