"""Identifies the task, project, and domain that Flyte made a Pod for."""
