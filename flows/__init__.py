"""Which blocks run, in which order, on which worker. Nothing else."""
