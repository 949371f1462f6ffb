"""Room for identity resolution: standardise, block, score, cluster, survive."""
