"""The parts that the webhook and `certs` share: addresses, certificates in PEM, and the time."""
