"""Whose Pod it is: the task, project, and domain that Flyte made it for."""
