"""Kubernetes objects as the webhook reads them, and arithmetic on their quantities."""
