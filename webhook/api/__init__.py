"""Kubernetes objects as the webhook reads them, and the arithmetic of their amounts."""
