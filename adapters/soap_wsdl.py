"""The WSDL of a specialist procedure: read from the snapshot alone, and asked for one operation.

Imports zeep, which takes half a second: import this module only where a WSDL is needed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import quote

import zeep
import zeep.exceptions
import zeep.wsdl
from lxml import etree
from zeep import xsd
from zeep.wsdl.bindings.soap import Soap12Binding, SoapBinding

from adapters.soap_files import ROOT, inside
from hub.plugin import Rejected

# What is wrong with a WSDL stands in our own problems; beside them a warning of zeep's shows paths of its source.
warnings.filterwarnings("ignore", module=r"zeep\.")
for _name in ("zeep", "requests", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # zeep logs whole envelopes at DEBUG

Read = Callable[[str], bytes]
Parse = Callable[[bytes], etree._Element]

ZEEP_ERRORS = (
    zeep.exceptions.Error,
    etree.LxmlError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What zeep raises for input that it cannot use: its own errors for half of it, Python's for the other half."""


class WsdlError(Exception):
    """The WSDL does not fit. ``key`` is the setting to blame; the text is about the configuration only."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, ready to be called."""

    name: str
    zeep: Any = field(repr=False)  # its own operation
    soap: str  # 1.1 | 1.2
    action: str
    root: str | None  # the name of the element that the request's body holds
    parameters: Mapping[str, Any]  # by name: elements and attributes of zeep
    reply: frozenset[str] | None  # names that the reply's element may have; None: the operation is one-way


def load(name: str, read: Read, parse: Parse) -> Any:
    """Return zeep's document of a WSDL; the same one as long as no file that it consists of has changed.

    Raises:
        WsdlError: It cannot be read, or refers to something that is not below the folder of routes.yaml.
    """
    with suppress(OSError), _lock:
        for document, digests in _loaded.get(name, []):
            if all(_digest(read(file)) == digest for file, digest in digests.items()):
                return document
    files: Any = _Files(read, parse)
    settings = zeep.Settings(strict=True, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        document = zeep.wsdl.Document(ROOT + quote(name, safe="/:"), files, settings=settings)
    except zeep.exceptions.ExternalReferenceForbidden as error:
        raise WsdlError("wsdl", f"refers to {_last(str(error.url))} by URL; only local files are read") from None
    except ZEEP_ERRORS as error:
        raise WsdlError("wsdl", f"not a WSDL that can be used: {type(error).__name__}: {error}") from None
    with _lock:
        _loaded.setdefault(name, []).append((document, files.digests))
        del _loaded[name][:-_VERSIONS_KEPT]
    return document


_VERSIONS_KEPT = 2  # the snapshot that ends and the one that begins
_loaded: dict[str, list[tuple[Any, Mapping[str, str]]]] = {}
_lock = threading.Lock()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _last(location: str) -> str:
    return location.rstrip("/").rpartition("/")[2]


class _Files(zeep.Transport):
    """Gives zeep files of the snapshot and nothing else: no network, no path outside."""

    def __init__(self, read: Read, parse: Parse) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # zeep has no types
        self.session.adapters.clear()  # zeep mounts file:// here
        self.digests: dict[str, str] = {}
        self._read = read
        self._parse = parse

    def load(self, url: Any) -> bytes:
        """Return a file by the location that zeep has made of a relative reference."""
        location = str(url)
        name = inside(location)
        if name is None:
            raise WsdlError("wsdl", f"refers to {_last(location)}, which is not below the folder of routes.yaml")
        try:
            content = self._read(name)
            self._parse(content)  # a DOCTYPE ends here
        except OSError as error:
            raise WsdlError("wsdl", f"cannot read {name}: {error.strerror or type(error).__name__}") from None
        except Rejected as rejected:
            raise WsdlError("wsdl", f"{name}: {rejected.code}") from None
        self.digests[name] = _digest(content)
        return content

    def post(self, address: str, message: object, headers: object) -> NoReturn:
        """Never: requests go by the adapter's own line."""
        raise NotImplementedError(address, message, headers)

    get = post


def find_operation(
    document: Any, name: str, *, service: str | None, port: str | None, soap: str | None, action: str | None
) -> Operation:
    """Return the operation in the binding that the settings mean. Addresses in the WSDL are never looked at.

    Raises:
        WsdlError: No such service, port or operation, or more than one binding may be meant.
    """
    binding = _binding(document, service, port, soap)
    found = binding.all().get(name)
    if found is None:
        raise WsdlError("operation", f"found {name!r}, expected one of {', '.join(sorted(binding.all()))}")
    if getattr(found.input, "_is_body_wrapped", False) or getattr(found.output, "_is_body_wrapped", False):
        raise WsdlError("operation", f"{name}: messages with several body parts come with a later release")
    body = found.input.body if found.input else None
    kind = body.type if body is not None else None
    known = [*kind.elements, *kind.attributes] if isinstance(kind, xsd.ComplexType) else []
    return Operation(
        name=name,
        zeep=found,
        soap=_version(binding),
        action=found.soapaction or "" if action is None else action,
        root=str(body.qname) if body is not None else None,
        parameters=dict(known),
        reply=_reply(found),
    )


def _binding(document: Any, service: str | None, port: str | None, soap: str | None) -> Any:
    """Return the one binding that fits; of both SOAP versions, 1.1."""
    found: list[Any] = []
    for service_name, offered in document.services.items():
        for port_name, bound in offered.ports.items():
            if service in (None, service_name) and port in (None, port_name):
                found.append(bound.binding)
    if not document.services and service is None and port is None:
        found = list(document.bindings.values())
    fitting = [binding for binding in found if isinstance(binding, SoapBinding)]
    if not fitting:
        names = sorted(f"{name}/{port}" for name, offered in document.services.items() for port in offered.ports)
        key = "port" if port else "service" if service else "wsdl"
        raise WsdlError(key, f"no such SOAP port; the WSDL has {', '.join(names) or 'none'}")
    versions = {_version(binding) for binding in fitting}
    version = soap or min(versions)
    if version not in versions:
        raise WsdlError("soap", f"found {version}, the WSDL offers {', '.join(sorted(versions))}")
    fitting = [binding for binding in fitting if _version(binding) == version]
    if len({binding.name for binding in fitting}) > 1:
        raise WsdlError("port", "the WSDL has several that fit; name one")
    return fitting[0]


def _version(binding: Any) -> str:
    return "1.2" if isinstance(binding, Soap12Binding) else "1.1"


def _reply(operation: Any) -> frozenset[str] | None:
    if operation.output is None or operation.abstract.output_message is None:
        return None
    body = operation.output.body
    if body is None:
        return frozenset()
    if operation.style != "rpc":
        return frozenset({str(body.qname)})
    # The wrapper of an rpc reply has a name by convention only (WSDL 1.1 §3.5, WS-I Basic Profile R2729).
    namespace = etree.QName(body.qname).namespace
    return frozenset({str(body.qname), str(etree.QName(namespace, f"{operation.name}Response"))})
