"""The review of Pods in files, without a server."""
