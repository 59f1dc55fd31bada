"""The policy file: its schema, its errors and warnings, and the settings that it gives each task."""
