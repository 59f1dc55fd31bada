"""The process of `serve`: endpoints, certificates, reloads, and how it ends."""
