"""The parts that the webhook and `certs` share: addresses, kubeconfigs, certificates in PEM, and the time."""
