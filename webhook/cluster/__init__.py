"""The ResourceQuotas of the cluster: read by an informer, or kept in memory in the local mode."""
