"""Says in plain words why a text is not valid YAML, in place of the parser's terms."""

import re
from typing import Final

import yaml

UNRENDERED: Final = "an unrendered template of Helm; render it first (helm template), or write the value"
UNQUOTED_TEMPLATE: Final = re.compile(r"""^[^#'"\n]*?(\{\{)""", re.MULTILINE)
_INDENTATION: Final = (
    "does not fit the lines before it; check the indentation, and quote texts that hold ': ' or quotes"
)
# The first pattern that is found in the parser's message gives the text; the groups are filled in.
_TEXTS: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"found character '\\t'", "a tab; use spaces"),
        (r"found character (?P<what>'.*') that", "a text cannot begin with {what}; quote it"),
        (
            r"mapping values are",
            "a second ':' in one line, or a wrong indentation; quote the text, or begin a new line",
        ),
        (r"found unexpected end of stream", "a quote that is not closed; add the closing quote"),
        (
            r"expected ',' or '(?P<what>.)'",
            "a list or map without its closing '{what}'; add it, or a comma before this",
        ),
        (r"could not find expected ':'", "a line without ':'; write `key: value`"),
        (r"(?P<what>undefined alias '.*')", "{what}; write the anchor (&) before the alias (*)"),
        (r"found duplicate anchor (?P<what>'.*');", "a second anchor {what}; give it another name"),
        (r"expected '<document start>'", "a new document without '---' before it; write '---'"),
        (r"incompatible YAML document", "a version of YAML other than 1; remove the line that begins with %YAML"),
        (
            r"unknown escape character (?P<what>'.*')",
            "\\ before {what} in double quotes; write \\\\, or use single quotes",
        ),
        (r"for merging", "a value of '<<' that is not a map; write an alias of a map"),
        (r"expected <block end>|not allowed here", _INDENTATION),
    )
)


def plainly(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong at the place of the error, and what to do."""
    message = f"{error.context or ''} {error.problem or ''}"
    for pattern, plain in _TEXTS:
        if found := pattern.search(message):
            return plain.format(**found.groupdict())
    return "cannot be read from here; check the indentation, quotes and brackets"
