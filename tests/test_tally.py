"""What is counted on the path of every Pod is shown as prometheus_client shows its own."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.registry import Collector

from webhook.tally import Durations, Tally

BUCKETS = (0.0001, 0.5, 1.0, 10.0)
LABELS = st.sampled_from(["/mutate", "/validate", 'a "quoted"\\ one\n', ""])


def exposition(collector: Collector) -> list[str]:
    """Without when prometheus_client's own began to count, which ours do not tell."""
    registry = CollectorRegistry()
    registry.register(collector)
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.tuples(LABELS, LABELS)))
def test_a_tally_is_shown_as_a_counter(counted: list[tuple[str, str]]) -> None:
    ours, theirs = Tally("n", "What it is.", ["a", "b"]), Counter("n", "What it is.", ["a", "b"], registry=None)
    for labels in counted:
        ours.counts[labels] += 1
        theirs.labels(*labels).inc()
    assert exposition(ours) == exposition(theirs)


@given(st.lists(st.tuples(LABELS, st.sampled_from(BUCKETS) | st.floats(0, 20))))
def test_durations_are_shown_as_a_histogram(observed: list[tuple[str, float]]) -> None:
    ours = Durations("n", "What it is.", "a", BUCKETS)
    theirs = Histogram("n", "What it is.", ["a"], registry=None, buckets=BUCKETS)
    for label, seconds in observed:
        ours.observe(label, seconds)
        theirs.labels(label).observe(seconds)
    assert exposition(ours) == exposition(theirs)
