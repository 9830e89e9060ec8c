"""What of a document does not arrive in another that was made of it. Its rule: by its words, not by their places.

Texts of elements and attributes are compared: first with those of the same name, then with any that is left over, for a
new version may rename. Not counted: the root's attributes (they say what it is), ``listURI`` and ``listVersionID``
(which edition of a code list was meant), ``xsi:``, and elements without text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lxml import etree

from hub.message import Finding
from hub.xml.place import path_of

FINDINGS_MAX = 100
DROPPED = "dropped"
_EDITIONS = frozenset({"listURI", "listVersionID"})
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def dropped(before: etree._Element, after: etree._Element) -> tuple[Finding, ...]:
    """Return a warning for each text of ``before`` that ``after`` does not have: where it stood, at most 100."""
    there = Counter((name, text) for _, name, text in _texts(after))
    moved = []
    for element, name, text in _texts(before):
        if there[name, text]:
            there[name, text] -= 1
        else:
            moved.append((element, name, text))
    if not moved:
        return ()
    left: Counter[str] = Counter()
    for (_, text), count in there.items():
        left[text] += count
    found = []
    for element, name, text in moved:
        if left[text]:
            left[text] -= 1
        else:
            found.append(_finding(element, name))
    return tuple(found[:FINDINGS_MAX])


def _texts(root: etree._Element) -> Iterator[tuple[etree._Element, str, str]]:
    """Yield every text with the element that has it and the name that it stands under, blanks at its ends cut off."""
    for element in root.iter(etree.Element):
        own = "".join([element.text or "", *(child.tail or "" for child in element)]).strip()
        if own:
            yield element, etree.QName(element).localname, own
        if element is root:
            continue
        for key, value in element.attrib.items():
            name = etree.QName(str(key))
            if name.localname not in _EDITIONS and name.namespace != _XSI and str(value).strip():
                yield element, f"@{name.localname}", str(value).strip()


def _finding(element: etree._Element, name: str) -> Finding:
    path = path_of(element) + (f"/{name}" if name.startswith("@") else "")
    return Finding(DROPPED, path, element.sourceline or 0, "does not arrive in the converted document", level="warning")
