"""The process of `serve`: endpoints, certificates, reloads, and the shutdown."""
