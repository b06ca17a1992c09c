"""Selection of columns by name, and the meaning of labels."""

import numpy as np
import pytest

from vae_anomaly.data.labels import anomalous
from vae_anomaly.data.scaling import ColumnScaler
from vae_anomaly.data.table.columns import select_for_fitting, select_for_scoring
from vae_anomaly.data.table.encoder import TableEncoder
from vae_anomaly.data.table.files import open_table
from vae_anomaly.data.table.opening import open_source
from vae_anomaly.exceptions import DataError
from vae_anomaly.names import NORMAL_LABELS


def scoring(header, features=("flow", "pressure"), **options):
    options = {"names": features, "n_features": 2} | options
    return select_for_scoring("new.csv", header, **options)


def test_fitting_uses_all_columns_but_some():
    columns = select_for_fitting("t.csv", ["id", "flow", "pressure"], ignored=["id", "id"])
    assert columns.features == ("flow", "pressure")
    assert columns.unused == ("id",)


@pytest.mark.parametrize(
    ("header", "ignored", "message"),
    [
        (
            ["Flow", "pressure"],
            ["flow"],
            "t.csv lacks a column that the command line names: 'flow'. "
            "Did you mean 'Flow' for 'flow'? Names must agree exactly.",
        ),
        (
            ["a", "b"],
            ["zzz"],
            "t.csv lacks a column that the command line names: 'zzz'. Its columns are 'a', 'b'.",
        ),
        (["a"], ["a"], "t.csv: no column is left to learn from. Leave out fewer of its 1."),
        (
            ["a", ""],
            [],
            "t.csv: column 2 has no name. Name it, or leave it out with --ignore ''.",
        ),
    ],
)
def test_fitting_refuses(header, ignored, message):
    with pytest.raises(DataError) as caught:
        select_for_fitting("t.csv", header, ignored=ignored)
    assert str(caught.value) == message


def test_scoring_matches_by_name():
    columns = scoring(["site", "pressure", "flow"])
    assert columns.features == ("flow", "pressure")
    assert columns.unused == ("site",)


def test_batches_and_frames_have_the_columns_in_the_order_of_the_model(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("site,pressure,flow\nx,1,3\ny,2,4\n")
    scaler = ColumnScaler.from_rows(np.eye(2))
    encoder = TableEncoder(("flow", "pressure"), scaler, "gaussian")
    with open_source(open_table(path), encoder) as source:
        (batch,) = source.batches()
        np.testing.assert_array_equal(batch.records, [[3.0, 1.0], [4.0, 2.0]])
        assert list(source.training_data(batch.records).columns) == ["flow", "pressure"]
        assert source.notes == (f"note: {path}: the model does not know 'site'; ignored",)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            ["flow", "Pressure "],
            "new.csv lacks a column that the model names: 'pressure'. "
            "Did you mean 'Pressure ' for 'pressure'? Names must agree exactly.",
        ),
        (
            ["a", "b"],
            "new.csv lacks 2 columns that the model names: 'flow', 'pressure'. "
            "Its columns are 'a', 'b'.",
        ),
        (
            ["flow", "presure"],
            "new.csv lacks a column that the model names: 'pressure'. "
            "Did you mean 'presure' for 'pressure'? Names must agree exactly.",
        ),
    ],
)
def test_scoring_lists_what_is_missing(header, message):
    with pytest.raises(DataError) as caught:
        scoring(header)
    assert str(caught.value) == message


def test_many_missing_columns_are_counted_not_listed():
    features = [f"sensor {i}" for i in range(40)]
    with pytest.raises(DataError, match=r"lacks 40 columns .* and 30 more"):
        scoring(["x"], features=features, n_features=40)


def test_without_names_position_decides():
    columns = scoring(["id", "b", "a"], features=None, roles=["id"])
    assert columns.features == ("b", "a")
    assert columns.unused == ()
    with pytest.raises(
        DataError, match=r"new\.csv has 3 columns for the model, which was fitted on 2"
    ):
        scoring(["id", "b", "a"], features=None)


def test_labels_of_normal_rows():
    labels = [*NORMAL_LABELS, "Normal", "FALSE", 0, 0.0, False, " ok "]
    assert not anomalous(labels, source="t", column="c").any()
    assert anomalous(["1", 1], source="t", column="c").all()
    labels = ["1", "true", "yes", "anomaly", "crack", 1, 2.0, True, "-1", "malignant"]
    assert anomalous(["ok", *labels], source="t", column="c").tolist() == [False] + [True] * 10


def test_normal_labels_can_be_given():
    got = anomalous([1, -1, "1.0"], source="t", column="c", normal=["1"])
    assert got.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("values", "normal", "message"),
    [
        (
            ["0", ""],
            (),
            "row 2, column 'c': expected a label, got an empty or missing cell.",
        ),
        (
            ["0", None],
            (),
            "row 2, column 'c': expected a label, got an empty or missing cell.",
        ),
        (["1", "-1"], (), "labels -1 and 1 are ambiguous"),
        ([-1.0, -1.0], (), "labels -1 and 1 are ambiguous"),
        (["a", "b"], ("A",), "no row has the normal label 'A'. Its labels are 'a', 'b'."),
    ],
)
def test_labels_that_are_refused(values, normal, message):
    with pytest.raises(DataError) as caught:
        anomalous(values, source="t.csv", column="c", normal=normal)
    assert message in str(caught.value)


def test_labels_of_which_none_is_known_to_be_normal_are_refused():
    with pytest.raises(DataError, match="none of the labels 'healthy', 'sick' is known to mean"):
        anomalous(["healthy", "sick"], source="t.csv", column="state")


@pytest.mark.parametrize("label", ["healthy", "sick", "2", 7, "batch 3", "good part", -2.5])
def test_one_unknown_label_of_all_rows_is_refused(label):
    words = rf"t\.csv, column 'state': none of the labels '{label}' is known to mean normal\. Say "
    with pytest.raises(DataError, match=words) as caught:
        anomalous([label] * 3, source="t.csv", column="state")
    assert str(caught.value).endswith("if all rows are anomalies, label them 1.")
    assert not anomalous([label] * 3, source="t.csv", column="state", normal=[str(label)]).any()


@pytest.mark.parametrize("labels", [["1"], [1.0, True], ["Anomaly", "1"], ["Malignant"], ["NOK"]])
def test_rows_may_all_be_known_anomalies(labels):
    assert anomalous(labels, source="t.csv", column="state").all()


def test_no_rows_have_no_labels():
    assert not len(anomalous([], source="t.csv", column="state"))


@pytest.mark.parametrize("missing", ["NA", "nan", float("nan"), None, " "])
def test_missing_labels_are_refused_however_they_are_spelled(missing):
    with pytest.raises(DataError, match="row 2, column 'state': expected a label, got an empty"):
        anomalous(["ok", missing], source="t.csv", column="state")
