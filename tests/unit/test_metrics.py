"""What the hub counts, read as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from hub.metrics import Metrics


def read(metrics: Metrics) -> Mapping[tuple[str, ...], float]:
    """Return all samples by name and label values, labels in alphabetical order."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_each_fact_is_counted_under_its_name() -> None:
    metrics = Metrics()

    metrics.accepted("online", duplicate=False, seconds=0.02)
    metrics.accepted("online", duplicate=True, seconds=0.001)
    metrics.rejected("online", "schema_violation")
    metrics.refused("online", "unauthenticated")
    metrics.attempted("wolfsburg/gewerbe", "delivered", 0.3)
    metrics.worker_died()

    samples = read(metrics)
    assert samples["xoev_hub_messages_accepted_total", "online"] == 1
    assert samples["xoev_hub_messages_repeated_total", "online"] == 1
    assert samples["xoev_hub_messages_rejected_total", "schema_violation", "online"] == 1
    assert samples["xoev_hub_messages_refused_total", "unauthenticated", "online"] == 1
    assert samples["xoev_hub_attempts_total", "wolfsburg/gewerbe", "delivered"] == 1
    assert samples["xoev_hub_worker_deaths_total",] == 1
    assert samples["xoev_hub_receipt_seconds_count", "online"] == 2
    assert samples["xoev_hub_receipt_seconds_bucket", "0.025", "online"] == 2
    assert samples["xoev_hub_receipt_seconds_bucket", "0.01", "online"] == 1
    assert samples["xoev_hub_attempt_seconds_sum", "delivered"] == 0.3


def test_the_states_of_deliveries_are_those_of_the_store_and_no_older_ones() -> None:
    metrics = Metrics()
    metrics.set_deliveries({("wolfsburg/gewerbe", "waiting"): 400, ("gifhorn/bau", "dead"): 1})

    metrics.set_deliveries({("wolfsburg/gewerbe", "delivered"): 400})

    shown = {key: value for key, value in read(metrics).items() if key[0] == "xoev_hub_deliveries"}
    assert shown == {("xoev_hub_deliveries", "wolfsburg/gewerbe", "delivered"): 400}


def test_what_a_peer_wrote_never_becomes_a_label() -> None:
    metrics = Metrics()

    metrics.rejected("online", "Erika Mustermann")
    metrics.refused("online", "x" * 41)
    metrics.attempted("wolfsburg/gewerbe", "{id=1}\n", 0.1)

    text = metrics.render().decode()
    samples = read(metrics)
    assert "Mustermann" not in text
    assert samples["xoev_hub_messages_rejected_total", "other", "online"] == 1
    assert samples["xoev_hub_messages_refused_total", "other", "online"] == 1
    assert samples["xoev_hub_attempts_total", "wolfsburg/gewerbe", "other"] == 1


def test_two_hubs_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()

    one.worker_died()

    assert read(one)["xoev_hub_worker_deaths_total",] == 1
    assert read(other)["xoev_hub_worker_deaths_total",] == 0


def test_no_series_says_when_counting_began() -> None:
    metrics = Metrics()
    metrics.worker_died()

    assert b"_created" not in metrics.render()
