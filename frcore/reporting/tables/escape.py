"""Text of users and of strangers' files in HTML, Markdown and CSV; of LaTeX in `latex`.

Every form has one function here, and whatever writes that form goes through it.
"""

from __future__ import annotations

import re

from markupsafe import Markup
from markupsafe import escape as _escape_html

from frcore.text import one_line, visible


def html(text: object) -> Markup:
    """Text between tags or in a quoted attribute; what is `Markup` already stays."""
    return text if isinstance(text, Markup) else _escape_html(visible(str(text)))


def markdown(text: str) -> str:
    r"""Text as GitHub prints it, also in a table and at the start of a line.

    >>> print(markdown("a|b *c* <i> # d"), markdown("# a"), markdown("1. b"), markdown("-1.5"))
    a\|b \*c\* &lt;i&gt; # d \# a 1\. b -1.5
    """
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
    return re.sub(r"^(\d*)([#+\-=.)])(?=[#+\-=]*(?:\s|$))", r"\1\\\2", text)
