"""Sources of candidates, which are also the baselines: each learns from a log and scores all items for histories."""
