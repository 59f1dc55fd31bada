"""The types of options that both command lines have."""

from pathlib import Path
from typing import Final

import click

from webhook.shared.address import Address

FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)


class AddressType(click.ParamType[Address]):
    """The type of an option HOST:PORT."""

    name = "HOST:PORT"

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Parse an Address; what is not one is a usage error."""
        try:
            return value if isinstance(value, Address) else Address.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
