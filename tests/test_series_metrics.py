"""VUS-PR, event metrics and label windows, against definitions and by hand."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from vae_anomaly.exceptions import DataError, ParameterError
from vae_anomaly.metrics.events import event_metrics, nab_windows, runs, window_labels
from vae_anomaly.metrics.vus import range_auc_pr, vus_pr

HOUR = timedelta(hours=1)
STEPS = st.lists(
    st.tuples(st.booleans(), st.one_of(st.integers(0, 5), st.just(np.nan))), min_size=1, max_size=30
)


def flags(text: str) -> np.ndarray:
    """Return True for each "x" of a text."""
    return np.array([letter == "x" for letter in text])


def intervals(values: np.ndarray) -> list[list[int]]:
    """Return the positions of each run of True values."""
    found: list[list[int]] = []
    for at, value in enumerate(values):
        if value and (at == 0 or not values[at - 1]):
            found.append([])
        if value:
            found[-1].append(at)
    return found


def area_by_definition(labels: np.ndarray, scores: np.ndarray, buffer: int) -> float:
    """Compute the range-based area time step by time step, threshold by threshold."""
    scored = [at for at in range(len(scores)) if not np.isnan(scores[at])]
    events = [event for event in intervals(labels) if set(event) & set(scored)]
    anomalous = {at for event in events for at in event}
    soft = {}
    for at in scored:
        distances = [min(abs(at - inside) for inside in event) for event in events]
        close = sum(np.sqrt(1 - d / buffer) for d in distances if 0 < d <= buffer // 2)
        soft[at] = 1.0 if at in anomalous else min(1.0, close)
    ranges: list[set[int]] = []
    for event in events:
        span = set(range(event[0] - buffer // 2, event[-1] + buffer // 2 + 1))
        if ranges and ranges[-1] & span:
            ranges[-1] |= span
        else:
            ranges.append(span)
    area, previous = 0.0, 0.0
    for threshold in sorted({scores[at] for at in scored}, reverse=True):
        flagged = {at for at in scored if scores[at] >= threshold}
        true = sum(soft[at] for at in flagged)
        found = sum(soft[at] for at in flagged - anomalous)
        recall = min(1.0, true / (len(anomalous & set(scored)) + found / 2))
        recall *= sum(bool(span & flagged) for span in ranges) / len(ranges)
        area += (recall - previous) * true / len(flagged)
        previous = recall
    return area


@settings(deadline=None, max_examples=300)
@given(STEPS, st.integers(0, 9))
def test_vus_pr_is_its_definition(steps: list[tuple[bool, float]], buffer: int) -> None:
    labels = np.array([label for label, _ in steps])
    scores = np.array([score for _, score in steps], dtype=float)
    found, area = vus_pr(labels, scores, buffer), range_auc_pr(labels, scores, buffer)
    unscored = np.isnan(scores)
    if not (labels & ~unscored).any():
        assert found is None
        assert area is None
        return
    assert found is not None
    assert area is not None
    areas = [area_by_definition(labels, scores, length) for length in range(buffer + 1)]
    assert found.value == pytest.approx(np.mean(areas), abs=1e-12)
    assert area.value == pytest.approx(areas[-1], abs=1e-12)
    missing = sum(bool(unscored[event].all()) for event in intervals(labels))
    assert found[1:] == (buffer, (~unscored).sum(), unscored.sum(), missing)


def test_volume_by_hand() -> None:
    # One event of one step, buffer 2: neighbours count sqrt(1 - 1/2), L = 0 and 1 have none.
    labels, scores = flags("..x.."), np.array([0.0, 2.0, 3.0, 1.0, 0.0])
    side = np.sqrt(0.5)
    recalls = [1.0, 1.0]  # the event itself, 1 / 1; then min(1, (1 + side) / (1 + side / 2))
    assert recalls[0] == min(1.0, (1 + side) / (1 + side / 2))
    assert vus_pr(labels, scores, 2).value == 1.0
    # The event comes second: precision of its threshold is (1 + side) / 2, and its recall is 1;
    # the first threshold has precision `side` and recall side / (1 + side / 2).
    scores = np.array([0.0, 3.0, 2.0, 1.0, 0.0])
    first = side / (1 + side / 2)
    area = first * side + (1 - first) * (1 + side) / 2
    assert range_auc_pr(labels, scores, 2).value == pytest.approx(area)
    assert vus_pr(labels, scores, 2).value == pytest.approx((0.5 + 0.5 + area) / 3)


def test_recall_is_multiplied_by_the_share_of_found_events() -> None:
    labels, scores = flags("x.x.."), np.array([5.0, 1.0, 4.0, 3.0, 2.0])
    # Thresholds 5 and 4: recall 1/2 x 1/2, then 2/2 x 2/2; both with precision 1.
    assert range_auc_pr(labels, scores, 0).value == 1.0
    scores = np.array([5.0, 1.0, 3.0, 4.0, 2.0])
    assert range_auc_pr(labels, scores, 0).value == pytest.approx(0.25 + 0.75 * 2 / 3)


def test_area_without_buffer_is_average_precision_for_one_event() -> None:
    rng = np.random.RandomState(0)
    labels = np.zeros(400, dtype=bool)
    labels[120:170] = True
    scores = np.round(rng.normal(size=400) + labels, 1)
    expected = average_precision_score(labels, scores)
    assert range_auc_pr(labels, scores, 0).value == pytest.approx(expected)


def test_volume_depends_on_the_order_of_scores_only() -> None:
    rng = np.random.RandomState(0)
    labels = flags("...xxx....x....")
    scores = rng.normal(size=len(labels))
    scores[0] = -np.inf
    assert vus_pr(labels, scores, 6) == vus_pr(labels, np.exp(scores), 6)


def test_volume_of_a_long_series_takes_seconds() -> None:
    rng = np.random.RandomState(0)
    labels = np.repeat(rng.uniform(size=2304) < 0.1, 100)
    start = time.process_time()
    assert 0 < vus_pr(labels, rng.normal(size=len(labels)), 32).value < 1
    assert time.process_time() - start < 10


def test_scores_of_other_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"equally long. Got shapes \(3,\) and \(4,\)"):
        vus_pr(flags("..x"), np.zeros(4), 2)
    with pytest.raises(ParameterError, match=r"0 or more time steps. Got -1"):
        range_auc_pr(flags("..x"), np.zeros(3), -1)


@pytest.mark.parametrize(
    ("labels", "flagged", "detected", "false", "repeated", "delays"),
    [
        ("..xxx...", "..x.....", 1, 0, 0, [0]),
        ("..xxx...", "....xxx.", 1, 0, 0, [2]),
        ("..xxx...", "xxx.....", 1, 0, 0, [0]),  # an alarm before the event is no head start
        ("..xxx...", ".....xxx", 0, 1, 0, []),
        ("..xxx...", "xx......", 0, 1, 0, []),
        ("..xxx...", "x.x.x.xx", 1, 2, 1, [0]),
        ("xx..xx..", "xxxxxxxx", 1, 0, 0, [0]),  # an alarm detects one event
        ("xx..xx..", ".xxxx.x.", 1, 1, 0, [1]),
        ("xx..xx..", ".xxxx.xx", 1, 1, 0, [1]),
        ("xx..xx.x", ".xxxx..x", 2, 0, 0, [1, 0]),
        ("xx..xx..", ".x.xx...", 2, 0, 0, [1, 0]),
        ("xx.xxxx.", ".xxx.xx.", 2, 0, 0, [1, 2]),
        ("xx.xx.xx", "xxxx..x.", 2, 0, 0, [0, 0]),
        ("xxxx....", "x.x.....", 1, 0, 1, [0]),
        ("........", "..xx.x..", 0, 2, 0, []),
        ("..xx....", "........", 0, 0, 0, []),
    ],
)
def test_alarms_detect_events(
    labels: str, flagged: str, detected: int, false: int, repeated: int, delays: list[int]
) -> None:
    found = event_metrics(flags(labels), flags(flagged), HOUR)
    assert (found.n_detected, found.n_false, found.n_repeated) == (detected, false, repeated)
    assert found.n_alarms == detected + false + repeated == len(intervals(flags(flagged)))
    assert found.n_events == len(intervals(flags(labels)))
    assert found.delays == tuple(delay * HOUR for delay in delays)
    assert found.share_in_alarm == np.mean(flags(flagged))
    assert (found.recall and found.recall.value) == (
        detected / found.n_events if found.n_events else None
    )
    assert (found.precision and found.precision.value) == (
        detected / (detected + false) if detected + false else None
    )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=25))
def test_as_many_events_are_detected_as_one_alarm_each_allows(
    steps: list[tuple[bool, bool]],
) -> None:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    labels, flagged = np.array(steps).T
    events, alarms = intervals(labels), intervals(flagged)
    overlap = [[bool(set(event) & set(alarm)) for alarm in alarms] for event in events]
    matrix = csr_matrix(np.array(overlap, dtype=int).reshape(len(events), len(alarms)))
    found = event_metrics(labels, flagged, HOUR)
    if events and alarms:
        assert found.n_detected == (maximum_bipartite_matching(matrix) >= 0).sum()
    assert found.n_false == sum(not labels[alarm].any() for alarm in alarms)


def test_false_episodes_count_scored_time_outside_events() -> None:
    labels, flagged = flags("xx......"), flags("x.x.x...")
    scored = flags("xxxxxx..")
    found = event_metrics(labels, flagged, timedelta(days=1), scored)
    assert found.false_per_week == pytest.approx(2 / (4 / 7))
    assert found.share_in_alarm == 3 / 6
    assert found.median_delay == timedelta(0)


def test_metrics_without_time_are_none() -> None:
    found = event_metrics(flags("xx"), flags(".."), HOUR)
    assert found.false_per_week is None
    assert found.median_delay is None
    assert event_metrics(flags(".."), flags(".."), HOUR, flags("..")).share_in_alarm is None


def test_impossible_flags_and_steps_are_refused() -> None:
    with pytest.raises(DataError, match=r"flags must be False where scored is. Time step 1"):
        event_metrics(flags("..."), flags(".x."), HOUR, flags("x.x"))
    with pytest.raises(DataError, match=r"Got shapes \(3,\), \(2,\) and \(3,\)"):
        event_metrics(flags("..."), flags(".."), HOUR)
    with pytest.raises(ParameterError, match="step must be a positive duration"):
        event_metrics(flags("..."), flags("..."), timedelta(0))


def test_runs() -> None:
    assert [r.tolist() for r in runs(flags(".xx.x"))] == [[1, 4], [3, 5]]
    assert [r.tolist() for r in runs(flags(""))] == [[], []]


def test_windows_include_both_ends() -> None:
    times = np.arange("2024-01-01T00", "2024-01-01T06", dtype="datetime64[h]")
    windows = [("2024-01-01T01", "2024-01-01T02"), ("2024-01-01T05", "2024-01-01T09")]
    assert window_labels(times, windows).tolist() == [False, True, True, False, False, True]
    fine = times.astype("datetime64[ns]")
    assert window_labels(fine, [("2024-01-01 01:00:00.000001", "2024-01-01 03:00")]).sum() == 2
    assert not window_labels(times, []).any()
    assert window_labels(np.array([0.5, 1.5]), [(1, 1.5)]).tolist() == [False, True]


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(DataError, match=r"a window must end after its start. Got 3 to 2"):
        window_labels(np.arange(5), [(3, 2)])
    with pytest.raises(DataError, match=r"windows must be pairs .* Got 3 values"):
        window_labels(np.arange(5), [(1, 2, 3)])  # type: ignore[list-item]
    times = np.arange(5).astype("datetime64[s]")
    with pytest.raises(DataError, match=r"of the type of the times, datetime64\[s\]"):
        window_labels(times, [("yesterday", "today")])


def test_nab_windows_are_found_by_path_or_name() -> None:
    day = ["2014-04-01 00:00:00.000000", "2014-04-02 00:00:00.000000"]
    document = {"a/x.csv": [day], "a/y.csv": [], "b/y.csv": [day, day]}
    windows = nab_windows(document, "x.csv")
    assert (windows == np.array([day], dtype="datetime64[ns]")).all()
    assert nab_windows(document, "a/y.csv").shape == (0, 2)
    assert nab_windows(document, "b/y.csv").shape == (2, 2)
    with pytest.raises(DataError, match=r"exactly one entry for 'y.csv'. Found 2 among 3"):
        nab_windows(document, "y.csv")
    with pytest.raises(DataError, match=r"Found 0 among 3 entries, the first being 'a/x.csv'"):
        nab_windows(document, "z.csv")
