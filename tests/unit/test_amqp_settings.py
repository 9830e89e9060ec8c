"""What routes.yaml may say of a destination behind RabbitMQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.amqp import ADAPTER, AmqpSettings
from hub.plugin import Context, TlsSettings
from hub.testing import make_context


@pytest.mark.parametrize(
    "url",
    [
        "amqp://hub:canary@127.0.0.1/",
        "amqp://hub@127.0.0.1",
        "http://127.0.0.1",
        "env:",
        "127.0.0.1:5672",
        "amqp://127.0.0.1?heartbeat=0",
        "amqp://127.0.0.1:99999",
    ],
)
def test_a_url_with_a_secret_in_it_or_none_at_all_is_an_error(url: str) -> None:
    with pytest.raises(ValidationError) as error:
        AmqpSettings(url=url, exchange="x", routing_key="k")

    assert "canary" not in error.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"routing_key": "bau\r\n"}, ("routing_key",)),
        ({"routing_key": "bäu"}, ("routing_key",)),
        ({"routing_key": "x" * 201}, ("routing_key",)),
        ({"routing_key": ""}, ("routing_key",)),
        ({"exchange": "x\n"}, ("exchange",)),
        ({"headers": {"a b": "c"}}, ("headers", "a b")),
        ({"url": "amqp://example.org"}, ("url",)),
        ({"url": "amqp://127.0.0.1", "tls": TlsSettings(ca="ca.pem")}, ("url",)),
    ],
)
def test_check_finds_what_can_be_seen_without_a_network(
    tmp_path: Path, settings: dict[str, Any], path: tuple[str, ...]
) -> None:
    values = {"url": "env:AMQP_URL", "exchange": "fachverfahren", "routing_key": "gifhorn.bau", **settings}

    problems = list(check(AmqpSettings(**values), make_context(tmp_path)))

    assert [where for where, _ in problems] == [path]


@pytest.mark.parametrize("url", ["env:AMQP_URL", "file:secrets/url", "amqp://localhost", "amqps://example.org/v"])
def test_check_finds_nothing_where_nothing_is_wrong(tmp_path: Path, url: str) -> None:
    settings = AmqpSettings(url=url, exchange="fachverfahren", routing_key="gifhorn.bau")

    assert list(check(settings, make_context(tmp_path))) == []


def test_plaintext_to_another_machine_needs_a_reason(tmp_path: Path) -> None:
    settings = AmqpSettings(url="amqp://example.org", exchange="fachverfahren", routing_key="gifhorn.bau")

    assert list(check(settings, make_context(tmp_path, insecure="own cable"))) == []


def check(settings: AmqpSettings, context: Context) -> Any:
    assert ADAPTER.check is not None
    return ADAPTER.check(settings, context)
