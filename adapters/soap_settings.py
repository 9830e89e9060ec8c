"""What routes.yaml may say about a destination behind a SOAP service. Strict: unknown keys are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from hub.plugin import Secret, Settings, TlsSettings

Word: TypeAlias = Literal["refused", "deferred", "delivered", "unclear", "blocked"]
"""What a code of the reply, or of a fault, may mean."""


class Security(Settings):
    """How the hub proves who it is, besides a client certificate."""

    kind: Literal["none", "basic", "username_text", "username_digest", "x509_sign"] = "none"
    username: str | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "x509_sign":
            raise ValueError("x509_sign comes with a later release")
        if self.kind == "none" and (self.username or self.password):
            raise ValueError("username and password need a kind: basic, username_text or username_digest")
        if self.kind != "none" and not (self.username and self.password):
            raise ValueError(f"{self.kind} needs username and password")
        return self


class Filling(Settings):
    """Where one parameter's value comes from.

    ``kind`` is ``text`` (``value`` itself), ``payload`` (``value``: base64, text or xml), ``digest`` (sha256 of the
    payload) or ``value`` (``value``: delivery_id, message_id, type, received_at, or a key of the message type).
    """

    kind: Literal["text", "payload", "digest", "value"]
    value: str


def _parameter(value: object) -> Filling:
    """Return where a parameter's value comes from: text, or one of the three forms in braces."""
    if isinstance(value, Filling):
        return value
    if isinstance(value, str):
        return Filling(kind="text", value=value)
    if isinstance(value, Mapping):
        match dict(value):
            case {"payload": "base64" | "text" | "xml" as form, **rest} if not rest:
                return Filling(kind="payload", value=form)
            case {"digest": "sha256", "of": "payload", **rest} if not rest:
                return Filling(kind="digest", value="sha256")
            case {"value": str(name), **rest} if name and not rest:
                return Filling(kind="value", value=name)
    raise ValueError(
        "expected text, {payload: base64|text|xml}, {digest: sha256, of: payload} or {value: NAME}, with NAME one of "
        "delivery_id, message_id, type, received_at or a key of the message type"
    )


_FORMS = {"anyOf": [{"type": "string"}, {"type": "object"}]}
Parameter = Annotated[Filling, BeforeValidator(_parameter), WithJsonSchema(_FORMS)]


class Condition(Settings):
    """The reply says that all went well if the XPath's text is one of these."""

    xpath: str = Field(min_length=1)
    equals: tuple[str, ...] = Field(min_length=1)

    @property
    def anything(self) -> bool:
        """Whether every reply of the right name will do (written ``any``)."""
        return not self.xpath


def _any_condition(value: object) -> object:
    return Condition.model_construct(xpath="", equals=()) if value == "any" else value


def _any_reply(value: object) -> object:
    if isinstance(value, str) and value != "any":
        raise ValueError(f"expected any, or a mapping with ok, codes, values, namespaces; found {value!r}")
    return {"ok": "any"} if value == "any" else value


class Value(Settings):
    """A value to keep of a reply, such as a file number."""

    xpath: str = Field(min_length=1)
    pattern: str | None = None


class Reply(Settings):
    """What the procedure's answer means. Codes are texts that ``ok.xpath`` finds; those not listed are unclear."""

    ok: Annotated[Condition | None, BeforeValidator(_any_condition)] = None
    codes: dict[str, Word] = Field(default_factory=dict)
    values: dict[str, Value] = Field(default_factory=dict)
    namespaces: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _codes_need_a_place(self) -> Self:
        if self.codes and (self.ok is None or self.ok.anything):
            raise ValueError("codes need ok: {xpath, equals}, which says where the code stands")
        return self


class SoapSettings(Settings):
    """Settings of a destination behind a SOAP service. Paths count from routes.yaml."""

    wsdl: str = Field(min_length=1)
    address: str
    operation: str = Field(min_length=1)
    service: str | None = None
    port: str | None = None
    payload: Literal["raw"] | None = None
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    headers: dict[str, Parameter] = Field(default_factory=dict)
    soap: Literal["1.1", "1.2"] | None = None
    action: str | None = None
    security: Security = Security()
    tls: TlsSettings = TlsSettings()
    reply: Annotated[Reply | None, BeforeValidator(_any_reply)] = None
    faults: dict[str, Word] = Field(default_factory=dict)

    @field_validator("address")
    @classmethod
    def _is_address(cls, address: str) -> str:
        try:
            url = urlsplit(address)
            known = url.scheme in ("http", "https") and (url.hostname or "").encode("idna") and url.port != 0
        except ValueError:  # a port that is none, a host that cannot be
            known = False
        if not known or not re.fullmatch(r"[\x21-\x7e]+", address) or url.username is not None or url.fragment:
            raise ValueError("expected https://HOST[:PORT]/PATH without user and fragment")  # may hold a password
        return address

    @field_validator("action")
    @classmethod
    def _is_action(cls, action: str | None) -> str | None:
        if action is not None and not re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]*", action):
            raise ValueError("expected printable ASCII without quotes")
        return action

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, Filling]) -> dict[str, Filling]:
        for name, filling in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name!r} is not the name of a header, or belongs to the hub")
            if filling.kind == "payload" or (filling.kind == "text" and not is_header_value(filling.value)):
                raise ValueError(f"{name}: expected printable ASCII, {{digest: …}} or {{value: …}}")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.payload is not None and self.parameters:
            raise ValueError("payload: raw and parameters exclude each other")
        if self.payload is None and not self.parameters:
            raise ValueError("expected parameters, or payload: raw")
        return self


_OWN_HEADERS = frozenset(
    {
        "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type",
        "cookie", "expect", "host", "idempotency-key", "soapaction", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def is_header_value(text: str) -> bool:
    return re.fullmatch(r"[\x20-\x7e]{1,500}", text) is not None
