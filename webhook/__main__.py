"""`python -m webhook`, which is the same as `flyte-admission`."""

from webhook.cli.main import main

if __name__ == "__main__":
    main(prog_name="flyte-admission")
