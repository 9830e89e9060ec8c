"""XSLT 2.0 and 3.0 by SaxonC-HE, the extra ``xslt3``. The only place that knows it.

A program reads its document and its parameters, and nothing else: no file, no address, no environment, no extension,
no DOCTYPE; it writes nothing but its result. What it imports is part of its text (:func:`inside`). Its engine does not
survive a fork: a worker set only keeps the text of a program, and each worker compiles it after the fork
(:meth:`Program.compile`, 20–150 ms), before its first document.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote, unquote

from hub.errors import ConfigError, Problem
from hub.xml.bundle import TEXT_MAX

MISSING = "needs the extra xslt3, which is not installed: pip install 'xoev-hub[xslt3]'"

_FEATURES = {  # without any one of them some way to files, addresses or the environment is open
    "http://saxon.sf.net/feature/allowedProtocols": "data",  # an address that holds its content, and leads nowhere
    "http://saxon.sf.net/feature/allow-external-functions": "false",
    "http://saxon.sf.net/feature/parserFeature?uri=http%3A//apache.org/xml/features/disallow-doctype-decl": "true",
}


_INSIDE = re.compile(r"(?:data:application/)?xml;charset=UTF-8;name=([^,]*),[^\s:]*")  # as the engine shows it


def inside(name: str, text: str) -> str:
    """Return an address that carries a whole file: so one stylesheet imports another while nothing can be fetched."""
    return f"data:application/xml;charset=UTF-8;name={quote(name, safe='')},{quote(text, safe='')}"


class Failed(Exception):
    """A program did not come to its end. Without the engine's text, which may quote the document."""


def available() -> bool:
    """Tell whether the extra is installed."""
    return find_spec("saxonche") is not None


class Program:
    """A stylesheet as text. It is compiled where and when it is first needed, once per process and thread."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._text = text

    def compile(self) -> None:
        """Compile the program for this process.

        Raises:
            ConfigError: The extra is missing, or the engine does not take the program.
        """
        if id(self) in _engine().programs:
            return
        if not available():
            raise ConfigError([Problem(self.name, 0, 0, "", MISSING)])
        engine = _engine()
        try:
            with _silence():
                compiled = engine.processor.new_xslt30_processor().compile_stylesheet(stylesheet_text=self._text)
        except engine.error as error:
            text = " ".join(_INSIDE.sub(lambda found: unquote(found[1]), str(error)).split())
            raise ConfigError([Problem(self.name, 0, 0, "", text[:TEXT_MAX])]) from error
        engine.programs[id(self)] = (self, compiled)

    def apply(self, document: str, values: Mapping[str, str] | None = None) -> str:
        """Return the serialised result for a document; ``values`` are string parameters.

        Raises:
            Failed: The program ended with an error, or could not be compiled.
        """
        try:
            self.compile()
        except ConfigError as error:
            raise Failed("cannot be compiled") from error
        engine = _engine()
        _, compiled = engine.programs[id(self)]
        try:
            with _silence():
                compiled.clear_parameters()
                for name, value in (values or {}).items():
                    compiled.set_parameter(name, engine.processor.make_string_value(value))
                compiled.set_property("!encoding", "UTF-8")
                result = compiled.transform_to_string(xdm_node=engine.processor.parse_xml(xml_text=document))
        except engine.error:
            result = None
        if result is None:  # raised outside, so that no exception that quotes the document hangs on ours
            raise Failed("ended with an error")
        return str(result)


class Programs:
    """The programs of a snapshot, in the order of their first use; one for all that ask for the same text."""

    def __init__(self) -> None:
        self._by_text: dict[str, Program] = {}

    def get(self, name: str, text: str) -> Program:
        return self._by_text.setdefault(text, Program(name, text))

    def compile(self) -> list[Problem]:
        """Compile all programs for this process, and return what is wrong with them."""
        problems: list[Problem] = []
        for program in self._by_text.values():
            try:
                program.compile()
            except ConfigError as error:
                problems += error.problems
        return problems


class _Engine(threading.local):
    """The engine of one process and thread."""

    def __init__(self) -> None:
        self.pid = 0
        self.processor: Any = None
        self.error: type[Exception] = Failed
        self.programs: dict[int, tuple[Program, Any]] = {}

    def start(self) -> None:
        self.pid, self.programs = os.getpid(), {}
        if not available():
            return
        saxonche = import_module("saxonche")
        self.error = saxonche.PySaxonApiError
        self.processor = saxonche.PySaxonProcessor(license=False)
        for feature, value in _FEATURES.items():
            self.processor.set_configuration_property(feature, value)


_ENGINE = _Engine()


def _engine() -> _Engine:
    if _ENGINE.pid != os.getpid():
        _ENGINE.start()
    return _ENGINE


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the engine from writing to the log what went wrong: it quotes the document, and cannot be told not to."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
