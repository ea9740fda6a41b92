"""Block 3: raw rows -> clean rows in three splits, the rows that were turned away, and a report."""
