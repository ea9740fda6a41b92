"""One package per block: `task.py` holds the Prefect tasks, its neighbours do the work."""
