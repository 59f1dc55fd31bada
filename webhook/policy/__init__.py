"""The policy file: what it may say, what is wrong with it, and what it means for a task."""
