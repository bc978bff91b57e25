"""Escaping untrusted text for HTML, Markdown and CSV; for LaTeX see `latex`.

Each format has one function here, used by everything that writes that format.
"""

from __future__ import annotations

import re

from markupsafe import Markup
from markupsafe import escape as _escape_html

from frcore.text import one_line, visible


def html(text: object) -> Markup:
    """Text between tags or in a quoted attribute; `Markup` is left as it is."""
    return text if isinstance(text, Markup) else _escape_html(visible(str(text)))


def markdown(text: str) -> str:
    r"""Text that GitHub renders literally, also in a table and at the start of a line.

    >>> print(markdown("a|b *c* <i> # d"), markdown("# a"), markdown("1. b"), markdown("-1.5"))
    a\|b \*c\* &lt;i&gt; # d \# a 1\. b -1.5
    """
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
    return re.sub(r"^(\d*)([#+\-=.)])(?=[#+\-=]*(?:\s|$))", r"\1\\\2", text)
