"""The command line: one module for each command, `inputs` and `options` for what they share."""
