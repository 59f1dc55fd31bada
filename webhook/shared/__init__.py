"""What the webhook and `certs` both need: addresses, certificates in PEM, and the time."""
