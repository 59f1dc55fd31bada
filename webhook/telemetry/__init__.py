"""What the program reports: log lines and metrics."""
