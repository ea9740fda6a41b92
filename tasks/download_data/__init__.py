"""Block 2: a source of labelled text -> the raw rows, as they came."""
