"""What hubtune runs on: pools, deployments, automations, workers, and all of it on one machine."""
