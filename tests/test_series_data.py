"""Time series: forms of files, time stamps, grids, window lengths."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.signal import detrend

from vae_anomaly.data.series.counters import counter_notes
from vae_anomaly.data.series.forms import read_series
from vae_anomaly.data.series.segments import Segment
from vae_anomaly.data.series.series import Gap, Series, SeriesSet, interpolated
from vae_anomaly.data.series.steps import commonest_step, duration, step_text
from vae_anomaly.data.series.times import read_times, time_text
from vae_anomaly.data.series.window import window_length
from vae_anomaly.exceptions import DataError, ParameterError

NAN = float("nan")
SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

REAL = Path(__file__).parents[2] / "shared" / "data" / "timeseries"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real series in {REAL}")


def utc(text: str) -> int:
    """Return a time in UTC as nanoseconds since 1970."""
    return int(pd.Timestamp(text, tz="UTC").as_unit("ns").value)


def rows_of_times(times: list[str], header: str = "time,flow") -> str:
    """Return CSV in which the flow is 1, 2, 3 and so on."""
    return "\n".join([header, *(f"{time},{i + 1}" for i, time in enumerate(times))]) + "\n"


def check_rows(data: SeriesSet) -> None:
    """Check that each input row has a grid point or a reason, and grid points their rows."""
    assert data.points.shape == (data.n_rows,)
    assert len(data.status) == data.n_rows
    usable = data.points >= 0
    assert [status == "" for status in data.status] == usable.tolist()
    rows = np.concatenate([series.rows for series in data.series])
    assert (data.points[rows[rows >= 0]] == np.flatnonzero(rows >= 0)).all()
    for series in data.series:
        n = len(series.values)
        assert series.values.shape == (n, len(data.channels))
        assert series.measured.shape == series.rows.shape == (n,)
        assert series.measured[series.rows >= 0].all()
        assert (series.measured == ~np.isnan(series.values).all(axis=1)).all()
        assert [part.start for part in series.segments()] == list(series.starts)
        if series.times is not None:
            for part in series.segments():
                steps = np.diff(series.times[part]) / data.step
                assert ((steps >= 0.5) & (steps <= 1.5)).all()
    if data.times_text is not None:
        assert len(data.times_text) == data.n_rows


@pytest.fixture
def written(tmp_path: Path):
    """Return a function that writes a file and reads it as series."""

    def read(content: str | bytes, **options: object) -> SeriesSet:
        path = tmp_path / "pump.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        data = read_series(path, **options)  # type: ignore[arg-type]
        check_rows(data)
        return data

    return read


# -------------------------------------------------------------------------- forms of files


class Good(NamedTuple):
    """A file, and what is read from it."""

    content: str | bytes
    channels: tuple[str, ...]
    step: int | None
    start: str | None
    values: list[list[float]]
    note: str = ""
    options: Mapping[str, object] = {}
    status: Mapping[int, str] = {}


PROMETHEUS = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {
                "metric": {"__name__": "up", "job": "node", "instance": instance},
                "values": [[1709287200 + 60 * i + 0.123, value] for i, value in enumerate(values)],
            }
            for instance, values in {"a": ["1", "2.5", "+Inf"], "b": ["4", "NaN", "6"]}.items()
        ],
    },
}

INFLUX = """#group,false,false,true,true,false,false,true,true,true
#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string,string
#default,mean,,,,,,,,
,result,table,_start,_stop,_time,_value,_field,_measurement,host
,,0,2024-03-01T00:00:00Z,2024-03-02T00:00:00Z,2024-03-01T10:00:00Z,1.5,idle,cpu,a
,,0,2024-03-01T00:00:00Z,2024-03-02T00:00:00Z,2024-03-01T10:00:10Z,2.5,idle,cpu,a
,,1,2024-03-01T00:00:00Z,2024-03-02T00:00:00Z,2024-03-01T10:00:00Z,7,idle,cpu,b

#group,false,false,true,true,false,false,true,true
#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,string,string,string
#default,mean,,,,,,,
,result,table,_start,_stop,_time,_value,_field,_measurement
,,2,2024-03-01T00:00:00Z,2024-03-02T00:00:00Z,2024-03-01T10:00:10Z,running,state,service
"""

HOME_ASSISTANT = """entity_id,state,last_changed
sensor.boiler,60.5,2024-03-01T10:00:00.000Z
sensor.boiler,unavailable,2024-03-01T10:00:30.000Z
sensor.boiler,61,2024-03-01T10:01:00.000Z
sensor.boiler,62,2024-03-01T10:01:30.000Z
switch.pump,on,2024-03-01T10:00:02.250Z
switch.pump,off,2024-03-01T10:00:32.250Z
sensor.mode,eco,2024-03-01T10:00:02.000Z
sensor.boiler,unknown,2024-03-01T10:02:00.000Z
"""

TELEGRAF = [
    {"name": "cpu", "tags": {"cpu": "cpu0"}, "fields": {"idle": 98.5, "up": True}, "timestamp": 0},
    {"name": "cpu", "tags": {"cpu": "cpu1"}, "fields": {"idle": 97, "up": True}, "timestamp": 0},
    {"name": "cpu", "tags": {"cpu": "cpu0"}, "fields": {"idle": 96, "up": False}, "timestamp": 10},
]
for metric in TELEGRAF:
    metric["timestamp"] = 1709287200 + int(str(metric["timestamp"]))

LINE_PROTOCOL = r"""# a comment
cpu,host=web\ 1,cpu=cpu0 idle=98.5,n=3i,msg="a b,c=1" 1709287200000000000
cpu,host=web\ 1,cpu=cpu1 idle=97,n=4i,up=t 1709287200000000000

cpu,host=web\ 1,cpu=cpu0 idle=1e1,n=-3i 1709287210000000000
"""


def parquet_of(frame: pd.DataFrame) -> bytes:
    content: bytes = frame.to_parquet(None)
    return content


AT_TEN = pd.date_range("2024-03-01 10:00", periods=3, freq="min")

GOOD = {
    "NAB": Good(
        "timestamp,value\n2014-04-01 00:00:00,20.5\n2014-04-01 00:05:00,21\n",
        ("value",),
        5 * MINUTE,
        "2014-04-01",
        [[20.5], [21.0]],
        "Column 'timestamp' holds the times.",
    ),
    "SKAB": Good(
        "datetime;Current;Volume Flow RateRMS;anomaly;changepoint\n"
        "2020-03-09 10:54:34;1.01;31;0.0;0.0\n2020-03-09 10:54:35;1.02;32;0.0;0.0\n"
        "2020-03-09 10:54:37;1.04;34;0.0;0.0\n2020-03-09 10:54:38;1.05;35;0.0;0.0\n",
        ("Current", "Volume Flow RateRMS"),
        SECOND,
        "2020-03-09 10:54:34",
        [[1.01, 31], [1.02, 32], [NAN, NAN], [1.04, 34], [1.05, 35]],
        "1 time step is missing in short gaps, which are bridged.",
        {"ignore": ["anomaly", "changepoint"]},
    ),
    "spreadsheet": Good(
        "\ufeffsep=;\r\ntime;flow;state\r\n01.03.2024 10:00;1,5;ok\r\n01.03.2024 10:01;2,5;ok\r\n",
        ("flow",),
        MINUTE,
        "2024-03-01 10:00",
        [[1.5], [2.5]],
        "Left out, as they hold no numbers: 'state'.",
    ),
    "tabs, AM and PM": Good(
        "time\tflow\n3/1/2024 11:59 PM\t1\n3/14/2024 12:00 AM\t2\n",
        ("flow",),
        12 * 24 * HOUR + MINUTE,
        "2024-03-01 23:59",
        [[1], [2]],
        "In the times the month comes before the day.",
    ),
    "Grafana": Good(
        '"Time","{instance=""a"", job=""node""}"\n2024-03-01 10:00:00,1\n2024-03-01 10:00:15,2\n',
        ('{instance="a", job="node"}',),
        15 * SECOND,
        "2024-03-01 10:00",
        [[1], [2]],
    ),
    "no times": Good(
        "flow,heat\n1,2\n3,4\n",
        ("flow", "heat"),
        None,
        None,
        [[1, 2], [3, 4]],
        "No column holds times: rows count as evenly spaced, in their order.",
    ),
    "long format": Good(
        "time,sensor,reading\n2024-03-01T10:00Z,heat,1\n2024-03-01T10:00Z,flow,2\n"
        "2024-03-01T10:01Z,flow,3\n2024-03-01T10:02Z,heat,4\n",
        ("flow", "heat"),
        MINUTE,
        "2024-03-01 10:00",
        [[2, 1], [3, NAN], [NAN, 4]],
        "",
        {"metric_column": "sensor", "value_column": "reading"},
    ),
    "gzip": Good(
        gzip.compress(b"time,flow\n2024-03-01T10:00Z,1\n2024-03-01T10:01Z,2\n"),
        ("flow",),
        MINUTE,
        "2024-03-01 10:00",
        [[1], [2]],
    ),
    "UTF-16": Good(
        "time,flow\n2024-03-01T10:00Z,1\n2024-03-01T10:01Z,2\n".encode("utf-16"),
        ("flow",),
        MINUTE,
        "2024-03-01 10:00",
        [[1], [2]],
    ),
    "Parquet": Good(
        parquet_of(pd.DataFrame({"time": AT_TEN, "flow": [1.0, None, 3.0], "on": [True] * 3})),
        ("flow", "on"),
        MINUTE,
        "2024-03-01 10:00",
        [[1, 1], [NAN, 1], [3, 1]],
    ),
    "Parquet with an index": Good(
        parquet_of(pd.DataFrame({"flow": [1, 2, 3]}, index=AT_TEN.tz_localize("Europe/Berlin"))),
        ("flow",),
        MINUTE,
        "2024-03-01 09:00",
        [[1], [2], [3]],
    ),
    "Prometheus": Good(
        json.dumps(PROMETHEUS),
        ("up{instance=a}", "up{instance=b}"),
        MINUTE,
        "2024-03-01 10:00:00.123",
        [[1, 4], [2.5, NAN], [NAN, 6]],
        "Infinite values count as missing: 1.",
        status={2: "all values missing", 4: "all values missing"},
    ),
    "promtool dump": Good(
        '{__name__="up", job="a"} 1 1709287200000\n{__name__="up", job="b"} 2 1709287200000\n'
        '{__name__="up", job="a"} 3 1709287260000\n',
        ("up{job=a}", "up{job=b}"),
        MINUTE,
        "2024-03-01 10:00",
        [[1, 2], [3, NAN]],
        "Times are milliseconds since 1970, by their magnitude.",
    ),
    "promtool query": Good(
        'up{job="a"} =>\n1 @[1709287200]\n3 @[1709287260]\nup{job="b"} =>\n2 @[1709287200.5]\n',
        ("up{job=a}", "up{job=b}"),
        MINUTE,
        "2024-03-01 10:00:00",
        [[1, 2], [3, NAN]],
        "Times are seconds since 1970, by their magnitude.",
    ),
    "InfluxDB": Good(
        INFLUX.replace("\n", "\r\n"),
        ("cpu.idle{host=a}", "cpu.idle{host=b}"),
        10 * SECOND,
        "2024-03-01 10:00",
        [[1.5, 7], [2.5, NAN]],
        "Not used: 'service.state', which holds no numbers.",
        status={3: "service.state holds no numbers"},
    ),
    "dates as numbers": Good(
        "date,flow\n20240228,1\n20240229,2\n20240301,3\n",
        ("flow",),
        24 * HOUR,
        "2024-02-28",
        [[1], [2], [3]],
        "Column 'date' holds the times.",
    ),
    "moments as numbers": Good(
        "stamp,flow\n20240301095950,1\n20240301100000,2\n",
        ("flow",),
        10 * SECOND,
        "2024-03-01 09:59:50",
        [[1], [2]],
    ),
    "log of a web server": Good(
        "t,flow\n[01/May/2024:02:00:00 +0200],1\n[01/May/2024:02:01:00 +0200],2\n",
        ("flow",),
        MINUTE,
        "2024-05-01",
        [[1], [2]],
        "Column 't' holds the times.",
    ),
    "epoch with decimals": Good(
        "time,flow\n1714521600.000000001,1\n1714521600.250000001,2\n",
        ("flow",),
        250 * 10**6,
        "2024-05-01 00:00:00.000000001",
        [[1], [2]],
    ),
    "seconds since a start": Good(
        "time,flow\n0.0,1\n0.004,2\n0.008,3\n",
        ("flow",),
        4 * 10**6,
        "1970-01-01",
        [[1], [2], [3]],
        options={"time_format": "s"},
    ),
    "ISO 8601 with fractions of any length": Good(
        "t,flow\n2024-05-01T00:00:00Z,1\n2024-05-01T00:01:00.0Z,2\n2024-05-01T00:02:00.000Z,3\n"
        "2024-05-01T00:03:00.000000000001Z,4\n",
        ("flow",),
        MINUTE,
        "2024-05-01",
        [[1], [2], [3], [4]],
    ),
    "ISO 8601 with blanks, commas, slashes": Good(
        "t;flow\n2024-05-01 00:00:00,0 UTC;1\n2024/05/01 00:01:00.0Z;2\n"
        "2024-05-01 02:02:00 +0200;3\n",
        ("flow",),
        MINUTE,
        "2024-05-01",
        [[1], [2], [3]],
    ),
    "two states": Good(
        "t,pump\n2024-05-01 00:00,on\n2024-05-01 00:01,\n2024-05-01 00:02,Off\n",
        ("pump",),
        MINUTE,
        "2024-05-01",
        [[1], [NAN], [0]],
        status={1: "all values missing"},
    ),
    "InfluxDB, pivoted": Good(
        "#datatype,string,long,dateTime:RFC3339,double,double\n#default,,,,,9\n"
        ",result,table,_time,flow,heat\n"
        ",,0,2024-03-01T10:00:00Z,1.5,4\n,,0,2024-03-01T10:00:10.000000001Z,1.6,\n",
        ("flow", "heat"),
        10 * SECOND + 1,
        "2024-03-01 10:00",
        [[1.5, 4], [1.6, 9]],
    ),
    "InfluxDB, pivoted with a tag": Good(
        "#datatype,string,long,dateTime:RFC3339,double,string,string\n"
        "#group,false,false,false,false,false,true\n"
        ",result,table,_time,flow,state,host\n"
        ",,0,2024-03-01T10:00:00Z,1.5,ok,a\n,,0,2024-03-01T10:00:10Z,1.6,ok,a\n"
        ",,1,2024-03-01T10:00:00Z,4,ok,b\n",
        ("flow{host=a}", "flow{host=b}"),
        10 * SECOND,
        "2024-03-01 10:00",
        [[1.5, 4], [1.6, NAN]],
        "Left out, as they hold no numbers: 'state{host=a}', 'state{host=b}'.",
    ),
    "InfluxDB, plain": Good(
        "_time,_value,_field,host\n2024-03-01T10:00:00Z,1,flow,a\n2024-03-01T10:00:00Z,2,heat,a\n"
        "2024-03-01T10:00:10Z,3,flow,a\n",
        ("flow", "heat"),
        10 * SECOND,
        "2024-03-01 10:00",
        [[1, 2], [3, NAN]],
    ),
    "JSON lines": Good(
        '{"t": "2024-05-01T00:00:00Z", "flow": 1, "in": {"x": 3}}\n\n'
        '{"t": "2024-05-01T00:01:00+00:00", "flow": 1.5, "tags": ["a"]}\n',
        ("flow", "in.x"),
        MINUTE,
        "2024-05-01",
        [[1, 3], [1.5, NAN]],
        "Left out, as they hold no numbers: 'tags'.",
    ),
    "JSON records": Good(
        json.dumps([{"ts": 1714521600, "flow": 1}, {"flow": 2.5, "ts": 1714521660}], indent=1),
        ("flow",),
        MINUTE,
        "2024-05-01",
        [[1], [2.5]],
        "Column 'ts' holds the times.",
    ),
    "Home Assistant": Good(
        HOME_ASSISTANT,
        ("sensor.boiler", "switch.pump"),
        30 * SECOND,
        "2024-03-01 10:00",
        [[60.5, NAN], [NAN, 1], [61, 0], [62, 0], [NAN, 0]],
        "Only changes are recorded: a value holds until the next one.",
        status={
            1: "all values missing",
            6: "sensor.mode holds no numbers",
            7: "all values missing",
        },
    ),
    "Telegraf, JSON lines": Good(
        "\n\n".join(map(json.dumps, TELEGRAF)),
        ("idle{cpu=cpu0}", "idle{cpu=cpu1}", "up{cpu=cpu0}", "up{cpu=cpu1}"),
        10 * SECOND,
        "2024-03-01 10:00",
        [[98.5, 97, 1, 1], [96, NAN, 0, NAN]],
    ),
    "Telegraf, JSON batch": Good(
        json.dumps({"metrics": TELEGRAF}, indent=1),
        ("idle{cpu=cpu0}", "idle{cpu=cpu1}", "up{cpu=cpu0}", "up{cpu=cpu1}"),
        10 * SECOND,
        "2024-03-01 10:00",
        [[98.5, 97, 1, 1], [96, NAN, 0, NAN]],
    ),
    "line protocol": Good(
        LINE_PROTOCOL,
        ("idle{cpu=cpu0}", "n{cpu=cpu0}", "idle{cpu=cpu1}", "n{cpu=cpu1}", "up{cpu=cpu1}"),
        10 * SECOND,
        "2024-03-01 10:00",
        [[98.5, 3, 97, 4, 1], [10, -3, NAN, NAN, NAN]],
        "Left out, as they hold no numbers: 'msg{cpu=cpu0}'.",
    ),
}


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_forms_of_files(good: Good, written) -> None:
    data = written(good.content, **good.options)
    assert data.channels == good.channels
    assert data.step == good.step
    (series,) = data.series
    np.testing.assert_array_equal(series.values, good.values)
    if good.start is None:
        assert series.times is None
        assert data.times_text is None
    else:
        assert series.times is not None
        assert series.times[0] == utc(good.start)
    assert not good.note or good.note in data.notes
    assert {i: text for i, text in enumerate(data.status) if text} == good.status


BAD = {
    "Prometheus error": (
        '{"status":"error","errorType":"bad_data","error":"parse error"}',
        "pump.csv holds an error of Prometheus, 'parse error'.",
    ),
    "Prometheus instant query": (
        '{"status":"success","data":{"resultType":"vector","result":[]}}',
        "expected a matrix of Prometheus, the answer to a range query (/api/v1/query_range), "
        "got 'vector'.",
    ),
    "Prometheus without samples": (
        '{"status":"success","data":{"resultType":"matrix","result":[]}}',
        "holds no samples: the query found none in its range.",
    ),
    "other JSON": ('{"a": 1}', "pump.csv is JSON of an unknown form."),
    "cut JSON": ('{"status":"success","data":{', "pump.csv, line 1: not JSON"),
    "Telegraf line": (
        json.dumps(TELEGRAF[0]) + '\n\n{"fields":\n',
        "pump.csv, line 3: expected a metric as JSON, with name, fields and timestamp",
    ),
    "JSON line": (
        '{"t": "2024-05-01", "flow": 1}\n\n{"t": "2024-05-02", "flow": "x"}\n',
        "pump.csv, line 3: not JSON like the other records (Column(/flow) changed from number to",
    ),
    "cut JSON line": ('{"a": 1}\n{"a": 2\n', "pump.csv, line 2: not JSON like the other records"),
    "line protocol": (
        "cpu idle=1 1709287200000000000\ncpu idle\n",
        "pump.csv, line 2: expected line protocol, such as",
    ),
    "promtool": (
        '{__name__="up"} 1 1709287200000\n\nup 1\n',
        "pump.csv, line 3: expected a sample such as",
    ),
    "InfluxDB without times": (
        "#datatype,string,long,double\n,result,table,_value\n,,0,1\n",
        "expected a column '_time' in each part",
    ),
    "no rows": ("time,flow\n", "pump.csv has column names, and no rows."),
    "empty": ("\n\n", "pump.csv is empty. Expected rows of a time series."),
    "no header": ("1,2\n3,4\n", "pump.csv begins with numbers, '1,2'."),
    "two columns of one name": ("time,a,a\n2024-03-01,1,2\n", "more than one column called 'a'."),
    "ragged row": (
        "time,flow\n2024-03-01,1\n\n2024-03-02\n",
        "pump.csv, line 4: expected 2 fields, as in the header, got 1.",
    ),
    "NUL": ("time,flow\n2024\0", "line 2: a NUL byte."),
    "no numbers": ("time,flow\n2024-03-01,low\n", "has no column of numbers besides its times."),
    "stray text": (
        rows_of_times(["2024-03-01", "2024-03-02", "2024-03-03"]).replace(",3", ",err"),
        "pump.csv, line 4, column 'flow': expected a number, got 'err'.",
    ),
    "one state among numbers": (
        rows_of_times(["2024-03-01", "2024-03-02", "2024-03-03"]).replace(",2", ",off"),
        "pump.csv, line 3, column 'flow': expected a number, got 'off'.",
    ),
    "one time that is none": (
        rows_of_times(["2024-03-01", "2024-03-02", "soon"], "t,flow"),
        "pump.csv, line 4, column 't': expected a time such as '2024-03-01', got 'soon'.",
    ),
    "the first time is none": (
        rows_of_times(["soon", "2024-03-02", "2024-03-03"], "t,flow"),
        "pump.csv, line 2, column 't': expected a time such as '2024-03-02', got 'soon'.",
    ),
    "text among epochs": (
        rows_of_times(["1714521600", "soon", "1714521720"]),
        "line 3, column 'time': expected a time as a number, as in other rows, got 'soon'.",
    ),
    "text among dates as numbers": (
        rows_of_times(["20240229", "20240230", "20240301"]),
        "line 3, column 'time': expected a time, got '20240230'. There is no such date",
    ),
    "times in an unknown format": (
        rows_of_times(["week 3", "week 4"]),
        "pump.csv, line 2, column 'time': expected a time, got 'week 3'. Correct the cell, write "
        "times such as '2024-03-01T10:00:00Z', or give time_format; or leave the column out",
    ),
    "two units": (
        rows_of_times(["1714521600", "1714521660000"]),
        "line 3, column 'time': expected seconds since 1970, as before, got '1714521660000'.",
    ),
    "two columns of times": (
        "from,to,flow\n2024-03-01,2024-03-02,1\n",
        "columns 'from', 'to' all hold times. Give time_column, and the others in ignore.",
    ),
    "one row": (rows_of_times(["2024-03-01"]), "no series has two rows, so that there is no step"),
    "broken gzip": (b"\x1f\x8b1234", "pump.csv is not a sound gzip archive"),
    "broken Parquet": (b"PAR1234", "pump.csv is not a sound Parquet file"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_files_that_cannot_be_used(content: str | bytes, message: str, written) -> None:
    with pytest.raises(DataError) as caught:
        written(content)
    assert message in str(caught.value)


def test_labels_and_columns_name_series(written) -> None:
    data = written(json.dumps(PROMETHEUS), series_column="instance")
    assert [one.name for one in data.series] == ["a", "b"]
    assert data.channels == ("up",)
    np.testing.assert_array_equal(data.series[1].values, [[4], [NAN], [6]])
    data = written(INFLUX, series_column="host")
    assert [one.name for one in data.series] == ["a", "b"]
    text = "\n".join(map(json.dumps, TELEGRAF))
    assert [one.name for one in written(text, series_column="cpu").series] == ["cpu0", "cpu1"]
    with pytest.raises(DataError, match=r"has no label 'rack'. Its labels are 'instance', 'job'."):
        written(json.dumps(PROMETHEUS), series_column="rack")
    rows = "pump,time,flow\nb,2024-03-01T10:00Z,1\na,2024-03-01T10:00Z,2\nb,2024-03-01T10:01Z,3\n"
    data = written(rows, series_column="pump")
    assert [one.name for one in data.series] == ["b", "a"]
    np.testing.assert_array_equal(data.by_row([one.values for one in data.series]), [[1], [2], [3]])
    with pytest.raises(DataError, match=r"has no column 'unit'. Its columns are 'pump', 'time'"):
        written(rows, series_column="unit")
    with pytest.raises(ParameterError, match="metric_column needs value_column"):
        written(rows, metric_column="pump")


def test_channels_are_those_of_training(written) -> None:
    rows = "time,heat,flow,new\n2024-03-01T10:00Z,1,2,3\n2024-03-01T10:01Z,4,5,6\n"
    data = written(rows, channels=["flow", "heat"])
    assert data.channels == ("flow", "heat")
    np.testing.assert_array_equal(data.series[0].values, [[2, 1], [5, 4]])
    assert "Not used, because training had no such channel: 'new'." in data.notes
    with pytest.raises(DataError, match="has no column 'level', a channel of training"):
        written(rows, channels=["level"])
    long = "time,m,v\n2024-03-01T10:00Z,a,1\n2024-03-01T10:00Z,b,2\n2024-03-01T10:01Z,a,3\n"
    roles = {"metric_column": "m", "value_column": "v"}
    data = written(long, channels=["a"], **roles)
    assert data.status == ("", "b is no channel of training", "")
    assert written(long, ignore=["a"], step="1min", **roles).channels == ("b",)
    with pytest.raises(DataError, match="Expected 2 channels, as in training, got 3"):
        read_series(np.zeros((4, 3)), channels=["a", "b"])


def test_channels_of_training_have_their_labels_whatever_differs_now(written) -> None:
    hosts = [{**one, "tags": {"host": host}} for host in "ab" for one in TELEGRAF[::2]]
    channels = written(json.dumps(hosts)).channels
    assert channels == ("idle{host=a}", "idle{host=b}", "up{host=a}", "up{host=b}")
    one_host = [
        {**one, "name": "cpu", "tags": {"host": "b", "cpu": "all"}} for one in TELEGRAF[::2]
    ]
    wanted = ["up{host=b}", "idle{host=b}"]
    from_influx = written(INFLUX, channels=wanted[1:], step=10 * SECOND)
    assert from_influx.series[0].values.tolist() == [[7]]
    assert written(json.dumps(one_host), channels=wanted).series[0].values.tolist() == [
        [1, 98.5],
        [0, 96],
    ]
    with pytest.raises(DataError, match=r"has no column 'idle{host=c}', a channel of training."):
        written(json.dumps(one_host), channels=["idle{host=c}"])
    with pytest.raises(DataError) as caught:
        written(json.dumps(hosts), channels=["idle"])
    assert (
        "Channel 'idle' of training may be 'idle{host=a}' or 'idle{host=b}'. Expected one of them: "
        "leave the other out with a query, or give as series_column the label that tells series"
    ) in str(caught.value)
    data = written(json.dumps(hosts), channels=["idle"], series_column="host")
    assert [one.values[:, 0].tolist() for one in data.series] == [[98.5, 96], [98.5, 96]]
    # The channel with most labels counts.
    both = [{**one, "tags": tags} for one in TELEGRAF[::2] for tags in ({}, {"cpu": "0"})]
    assert written(json.dumps(both)).channels[:2] == ("idle", "idle{cpu=0}")
    with pytest.raises(DataError, match=r"has no column 'idle', a channel of training."):
        written(json.dumps(both[1::2]), channels=["idle", "idle{cpu=0}"])


def test_times_and_row_numbers_are_no_channels(written) -> None:
    rows = "time,flow\n0,5\n0.5,6\n1.0,7\n"
    with pytest.raises(DataError, match=r"column 'time' never decrease, as times do, but are not"):
        written(rows)
    assert written(rows, time_column="time", time_format="s").step == SECOND / 2
    assert written(rows, ignore=["time"]).channels == ("flow",)
    data = written(",flow\n0,5\n1,6\n2,7\n")
    assert data.channels == ("flow",)
    assert "Left out, as it holds row numbers: ''." in data.notes


def test_text_in_channels_of_training_is_refused(written) -> None:
    with pytest.raises(DataError, match=r"line 2, column 'flow': expected a number, got 'on'."):
        written("flow\non\nlow\n3\n", channels=["flow"])


def test_texts_that_stand_for_missing_values(written) -> None:
    times = ["2024-03-01T10:00Z", "2024-03-01T10:01Z", "2024-03-01T10:02Z", "2024-03-01T10:03Z"]
    rows = rows_of_times(times).replace(",2", ",off line").replace(",3", ",-9.0")
    data = written(rows, missing=["off line", "-9"])
    assert data.status == ("", "all values missing", "all values missing", "")
    assert data.series[0].values[0] == 1
    frame = frame_at([0, 1, 2], [-9, 1, 2])
    assert read_series(frame, missing=["-9"]).status == ("all values missing", "", "")


def test_cells_that_are_unlike_those_of_the_first_rows(written) -> None:
    minutes = pd.date_range("2024-05-01", periods=300, freq="min").strftime("%Y-%m-%dT%H:%MZ")
    rows = rows_of_times(list(minutes)).replace(",250\n", ",err\n").replace(",270\n", ", NA\n")
    with pytest.raises(DataError, match=r"line 251, column 'flow': expected a number, got 'err'."):
        written(rows)
    data = written(rows, missing=["err"])
    assert [i for i, status in enumerate(data.status) if status] == [249, 269]
    data = written("\n\n" + rows.replace("err", "-"))
    assert [i for i, status in enumerate(data.status) if status] == [249, 269]
    rows = rows_of_times(list(minutes)).replace(",250\n", ",250,1\n")
    with pytest.raises(DataError, match=r"line 251: expected 2 fields, as in the header, got 3."):
        written(rows)


def test_times_in_json_keep_their_zone(written) -> None:
    times = ["2024-05-01T02:00:00+02:00", "2024-05-01T02:01:00+02:00"]
    lines = [json.dumps({"at": {"time": time}, "flow": i}) for i, time in enumerate(times)]
    metrics = [json.dumps({**TELEGRAF[0], "timestamp": time}) for time in times]
    for content in ("\n".join(lines), "\n".join(metrics)):
        data = written(content)
        assert data.series[0].times[0] == utc("2024-05-01")
        assert data.times_text.to_pylist() == times


def test_names_of_series_and_tags_are_text_also_if_they_look_like_numbers(written) -> None:
    rows = "t,pump,flow\n2024-05-01,01,1\n2024-05-02,01,2\n2024-05-01,1,3\n"
    assert [one.name for one in written(rows, series_column="pump").series] == ["01", "1"]
    rows = "_time,_value,_field,host\n2024-05-01,1,f,01\n2024-05-02,2,f,01\n2024-05-01,3,f,1\n"
    assert written(rows).channels == ("f{host=01}", "f{host=1}")


def test_times_of_types_are_written_as_they_are() -> None:
    for zone, end in ((None, ""), ("UTC", "Z"), ("Asia/Kolkata", "+0530")):
        index = pd.date_range("2024-03-01 10:00", periods=2, freq="500ms", tz=zone)
        data = read_series(pd.DataFrame({"a": [1.0, 2.0]}, index=index))
        assert data.times_text.to_pylist() == [
            f"2024-03-01 10:00:00.{part}{end}" for part in ("000", "500")
        ]


def test_two_states_are_numbers_and_three_are_none(written) -> None:
    rows = "m,v\na,on\na,off\nb,on\nb,off\nb,standby\nc,1\n"
    roles = {"metric_column": "m", "value_column": "v"}
    data = written(rows, **roles)
    assert data.channels == ("a", "c")
    assert data.status[2:5] == ("b holds no numbers",) * 3
    with pytest.raises(DataError, match=r"line 4, column 'v': expected a number, got 'on'."):
        written(rows.replace("b,off", "b,2").replace("b,standby", "b,3"), **roles)
    rows = rows.replace("b,on", "b,1").replace("b,off", "b,2")
    with pytest.raises(DataError, match=r"line 6, column 'v': expected a number, got 'standby'."):
        written(rows, metric_column="m", value_column="v")
    data = written(rows, metric_column="m", value_column="v", ignore=["b"])
    assert data.status[2:5] == ("b is ignored",) * 3


def test_fields_and_labels_may_have_any_name(written) -> None:
    lines = "boiler,value=a time=1 1709287200000000000\nboiler,value=a time=2 1709287210000000000\n"
    data = written(lines)
    assert (data.channels, data.step) == (("time",), 10 * SECOND)
    assert [one.name for one in written(lines, series_column="value").series] == ["a"]
    answer = json.dumps(PROMETHEUS).replace('"instance"', '"time"')
    assert [one.name for one in written(answer, series_column="time").series] == ["a", "b"]


# ------------------------------------------------------------------------------ time stamps


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("as_text", [True, False])
def test_units_of_epochs_are_found_by_magnitude(unit: str, as_text: bool) -> None:
    per = {"s": SECOND, "ms": 10**6, "us": 1000, "ns": 1}[unit]
    counts = [utc("2024-03-01 10:00") // per, utc("2024-03-01 10:01") // per]
    cells = pa.array(list(map(str, counts)) if as_text else counts)
    stamps = read_times(cells, "time", lambda row: f"line {row + 2}")
    assert stamps.ns.tolist() == [utc("2024-03-01 10:00"), utc("2024-03-01 10:01")]
    name = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]
    assert stamps.note == f"Times are {name} since 1970, by their magnitude."
    assert not stamps.is_naive


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-03-01", "2024-03-01"),
        ("2024-03-01T10:00", "2024-03-01 10:00"),
        ("2024-03-01 10:00:00.1", "2024-03-01 10:00:00.1"),
        ("2024-03-01T10:00:00,123456789Z", "2024-03-01 10:00:00.123456789"),
        ("2024-03-01T10:00:00.1234567899Z", "2024-03-01 10:00:00.123456789"),
        ("20240301T100000Z", "2024-03-01 10:00"),
        ("2024/03/01 10:00", "2024-03-01 10:00"),
        ("2024-03-01T10:00:00+05:30", "2024-03-01 04:30"),
        ("2024-03-01 10:00:00 -0800", "2024-03-01 18:00"),
        ("2024-03-01 10:00:00 UTC", "2024-03-01 10:00"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31 23:59:59.5"),
        ("13/04/2022 10:00", "2022-04-13 10:00"),
        ("3.4.2022", "2022-04-03"),
        ("1709287200.25", "2024-03-01 10:00:00.25"),
    ],
)
def test_time_stamps_of_text(cell: str, expected: str) -> None:
    stamps = read_times(pa.array(["", cell]), "time", str)
    assert stamps.ns[1] == utc(expected)
    assert stamps.known.tolist() == [False, True]
    assert stamps.text.to_pylist() == ["", cell]


def test_other_types_of_time_stamps() -> None:
    seconds = read_times(pa.array([1709287200.25, NAN, None]), "time", str)
    assert seconds.ns[0] == utc("2024-03-01 10:00:00.25")
    assert seconds.known.tolist() == [True, False, False]
    days = read_times(pa.array([0, 1], pa.date32()), "time", str)
    assert days.ns.tolist() == [0, 24 * HOUR]
    zoned = pa.array([1709287200], pa.timestamp("s", "Europe/Berlin"))
    stamps = read_times(zoned, "time", str)
    assert (stamps.ns[0], stamps.is_naive) == (utc("2024-03-01 10:00"), False)
    assert stamps.text.to_pylist() == ["2024-03-01 11:00:00+0100"]
    months = read_times(pa.array(["01-Mar-24 10h"]), "time", str, time_format="%d-%b-%y %Hh")
    assert months.ns[0] == utc("2024-03-01 10:00")
    relative = read_times(pa.array(["0", "0.5"]), "time", str, time_format="ms")
    assert relative.ns.tolist() == [0, 500_000]


WRONG_TIMES = {
    "unparsable": (["2024-03-01", "soon"], "line 3, column 'time': expected a time such as"),
    "no such day": (["2024-02-30"], "got '2024-02-30'. There is no such date or time of day."),
    "no such hour": (["2024-02-03 24:10"], "There is no such date or time of day."),
    "year": (["2024-03-01", "2300-01-01"], "line 3, column 'time': expected a time from 1678 to"),
    "early year": (["1492-10-12"], "expected a time from 1678 to 2261, got '1492-10-12'."),
    "mixed units": (
        ["1709287200", "1709287260000"],
        "line 3, column 'time': expected seconds since 1970, as before, got '1709287260000'.",
    ),
    "small numbers": (["1", "2"], "expected a time, or seconds, ms, us or ns since 1970, got '1'."),
    "naive and aware": (
        ["2024-03-01T10:00", "2024-03-01T10:01Z"],
        "line 3, column 'time': expected a time without an offset from UTC, such as "
        "'2024-03-01T10:00', got '2024-03-01T10:01Z'.",
    ),
    "aware and naive": (
        ["2024-03-01T10:00Z", "2024-03-01T10:01"],
        "expected a time with an offset from UTC, such as '2024-03-01T10:00Z', got",
    ),
    "ambiguous": (
        ["03/04/2022 10:00", "04/04/2022 10:00"],
        "line 2, column 'time': expected a date that is clear, got '03/04/2022 10:00'. In no row "
        "the day is above 12, so that day and month may be either. Give time_format",
    ),
    "both orders": (
        ["13/04/2022", "04/13/2022"],
        "line 2, column 'time': expected the day before the month or after it, in all rows",
    ),
}


@pytest.mark.parametrize(("cells", "message"), WRONG_TIMES.values(), ids=WRONG_TIMES)
def test_time_stamps_that_are_refused(cells: list[str], message: str, written) -> None:
    with pytest.raises(DataError) as caught:
        written(rows_of_times(cells), time_column="time")
    assert "pump.csv, " in str(caught.value)
    assert message in str(caught.value)


def test_formats_of_time_stamps(written) -> None:
    rows = rows_of_times(["03/04/2022 10:00", "04/04/2022 10:00"])
    data = written(rows, time_format="%d/%m/%Y %H:%M")
    assert data.series[0].times[0] == utc("2022-04-03 10:00")
    assert data.times_text.to_pylist() == ["03/04/2022 10:00", "04/04/2022 10:00"]
    with pytest.raises(DataError, match=r"line 2.*expected a time in the format '%d/%m/%Y', got"):
        written(rows, time_format="%d/%m/%Y")
    with pytest.raises(ParameterError, match=r"time_format must be a format of datetime.strptime"):
        written(rows, time_format="%H:%M")
    with pytest.raises(ParameterError, match=r"time_format='s' stands for numbers since 1970"):
        written(rows, time_format="s")


def test_offsets_are_brought_to_utc_and_their_text_is_kept(written) -> None:
    times = ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00", "2024-10-27T03:30:00+01:00"]
    data = written(rows_of_times(times))
    assert data.step == HOUR
    assert data.series[0].times[0] == utc("2024-10-27 00:30")
    assert data.times_text.to_pylist() == times


def local(times: pd.DatetimeIndex) -> list[str]:
    """Return times as clocks in Berlin show them."""
    return times.tz_convert("Europe/Berlin").strftime("%Y-%m-%d %H:%M:%S").tolist()


AUTUMN = pd.date_range("2024-10-26 20:00", "2024-10-27 06:00", freq="10min", tz="UTC")
SPRING = pd.date_range("2024-03-30 20:00", "2024-03-31 06:00", freq="10min", tz="UTC")


@pytest.mark.parametrize(
    ("times", "change"),
    [(AUTUMN, "goes back"), (SPRING, "jumps ahead"), (AUTUMN[::6], "repeats")],
)
def test_local_times_over_a_clock_change_need_a_zone(
    times: pd.DatetimeIndex, change: str, written
) -> None:
    rows = rows_of_times(local(times))
    said = f"the time {change}, as local time does where clocks are changed"
    with pytest.raises(DataError, match=said) as caught:
        written(rows)
    assert "give timezone, such as 'Europe/Berlin', or 'UTC'" in str(caught.value)
    data = written(rows, timezone="Europe/Berlin")
    np.testing.assert_array_equal(data.series[0].times, times.as_unit("ns").asi8)
    assert data.status == ("",) * len(times)


def test_latest_rows_may_come_first_over_a_clock_change(written) -> None:
    rows = rows_of_times(local(AUTUMN[::-1]))
    with pytest.raises(DataError, match="as local time does where clocks are changed"):
        written(rows)
    data = written(rows, timezone="Europe/Berlin")
    np.testing.assert_array_equal(data.series[0].times, AUTUMN.as_unit("ns").asi8)
    np.testing.assert_array_equal(data.series[0].values[:, 0], np.arange(len(AUTUMN), 0, -1))


def test_time_zones_are_checked(written) -> None:
    rows = rows_of_times(["2024-03-31 01:30", "2024-03-31 02:30", "2024-03-31 03:30"])
    with pytest.raises(DataError, match=r"line 3: the clocks of Europe/Berlin skip 2024-03-31 02"):
        written(rows, timezone="Europe/Berlin")
    with pytest.raises(ParameterError, match="timezone must be a name such as 'Europe/Berlin'"):
        written(rows, timezone="Mars/Olympus")
    assert written(rows, timezone="UTC").step == HOUR


@pytest.mark.parametrize("day", ["2024-03-17", "2024-06-30", "2024-10-26"])
def test_other_gaps_of_an_hour_are_no_clock_changes(day: str, written) -> None:
    hour = pd.date_range(f"{day} 01:00", periods=6, freq="10min")
    times = [*hour, *(hour + pd.Timedelta("2h"))]
    assert len(written(rows_of_times([str(time) for time in times])).gaps) == 1


@pytest.mark.parametrize(
    "zone", ["America/New_York", "Australia/Sydney", "Pacific/Auckland", "America/Santiago"]
)
def test_clock_changes_elsewhere_are_noticed(zone: str, written) -> None:
    year = pd.date_range("2024-01-01", "2024-12-31", freq="10min", tz="UTC").tz_convert(zone)
    offsets = year.map(lambda time: time.utcoffset())
    for change in np.flatnonzero(offsets[1:] != offsets[:-1]):
        local = year[change - 20 : change + 20].tz_localize(None)
        with pytest.raises(DataError, match="as local time does where clocks are changed"):
            written(rows_of_times([str(time) for time in local]))


def test_times_in_words() -> None:
    assert time_text(-1) == "1969-12-31 23:59:59.999999999"
    assert step_text(90 * MINUTE) == "1.5 hours"
    assert duration(5, "step") == 5
    for bad in ("soon", "-5min", 0):
        with pytest.raises(ParameterError, match="step must be a positive duration"):
            duration(bad, "step")


# ----------------------------------------------------------------------------------- grid


def frame_at(seconds: list[float], values: list[float] | None = None) -> pd.DataFrame:
    """Return a data frame with times in seconds after 2024-03-01."""
    index = pd.Timestamp("2024-03-01") + pd.to_timedelta(seconds, unit="s")
    flow = np.arange(len(seconds), dtype=float) if values is None else values
    return pd.DataFrame({"flow": flow}, index=index)


def read(seconds: list[float], values: list[float] | None = None, **options: object) -> SeriesSet:
    data = read_series(frame_at(seconds, values), **options)  # type: ignore[arg-type]
    check_rows(data)
    return data


def test_rows_are_sorted_and_scores_come_in_input_order() -> None:
    data = read([20, 0, 10, 30])
    assert data.series[0].values[:, 0].tolist() == [1, 2, 0, 3]
    assert data.series[0].rows.tolist() == [1, 2, 0, 3]
    assert "The rows go back in time in 1 place: they are sorted by time." in data.notes
    assert data.by_row([data.series[0].values[:, 0]]).tolist() == [0, 1, 2, 3]


def test_equal_duplicates_are_collapsed() -> None:
    data = read([0, 10, 10, 20, 10], [1, 2, 2, 3, 2])
    assert data.series[0].values[:, 0].tolist() == [1, 2, 3]
    assert data.status == ("", "", "duplicate of row 2", "", "duplicate of row 2")
    assert "2 rows repeat an earlier one." in data.notes


@pytest.mark.parametrize(
    ("choice", "value", "status"),
    [
        ("mean", 4.0, ("", "", "same time as row 2", "same time as row 2", "")),
        ("first", 2.0, ("", "", "same time as row 2", "same time as row 2", "")),
        ("last", 7.0, ("", "same time as row 4", "same time as row 4", "", "")),
    ],
)
def test_differing_duplicates_need_a_choice(
    choice: str, value: float, status: tuple[str, ...]
) -> None:
    seconds, values = [0.0, 10, 10, 10, 20], [1.0, 2, 3, 7, 9]
    with pytest.raises(DataError) as caught:
        read(seconds, values)
    assert str(caught.value) == (
        "row 3: expected the values of row 2, which has the same time, got others; 2 rows are like "
        "that. Give duplicates: 'mean', 'first' or 'last'; or series_column, if the rows are of "
        "several series."
    )
    data = read(seconds, values, duplicates=choice)
    assert data.series[0].values[:, 0].tolist() == [1, value, 9]
    assert data.status == status


@pytest.mark.parametrize("choice", [None, "mean", "first", "last"])
def test_rows_that_complete_each_other_count_as_one(choice: str | None, written) -> None:
    lines = ["time,a,b,c", "10:00,1,,7", "10:00,,2,", "10:00,1,,", "10:01,3,4,", "10:02,5,,"]
    lines = [lines[0], *(f"2024-03-01 {line}" for line in lines[1:])]
    data = written("\n".join(lines), duplicates=choice)
    np.testing.assert_array_equal(data.series[0].values, [[1, 2, 7], [3, 4, NAN], [5, NAN, NAN]])
    assert data.status == ("", "same time as row 1", "same time as row 1", "", "")
    assert "Rows that complete each other have 1 time in common: they count as one." in data.notes
    with pytest.raises(
        DataError, match=r"line 5: expected the values of row 1, .* 3 rows are like"
    ):
        written("\n".join([*lines[:4], lines[1].replace(",7", ",8"), *lines[4:]]))


def test_duplicates_must_be_a_known_choice() -> None:
    with pytest.raises(ParameterError, match="duplicates must be None or one of 'mean', 'first'"):
        read([0, 10], duplicates="median")


def test_channels_without_a_value_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    rows = ["time,a,b,c", *(f"2024-01-01 00:{i:02},{i % 7},{i % 5},2" for i in range(40))]
    for i in (3, 4, 9):
        rows[i] = f"2024-01-01 00:{i - 1:02},1,,2"
    rows[20] = "2024-01-01 00:19,,4,2"
    path.write_text("\n".join(rows))
    said = "Time steps without a value, which neighbours stand in for, of channel 'b' (3), 'a' (1)."
    assert said in read_series(path).notes
    path.write_text("\n".join([*rows[:3], *rows[5:9]]))
    assert not any("without a value" in note for note in read_series(path, channels=["a"]).notes)


def test_short_gaps_are_bridged_as_input_only() -> None:
    data = read([0, 10, 40, 50], [0, 10, 40, 50], max_gap=2)
    (series,) = data.series
    np.testing.assert_array_equal(series.values[:, 0], [0, 10, NAN, NAN, 40, 50])
    assert series.measured.tolist() == [True, True, False, False, True, True]
    assert series.rows.tolist() == [0, 1, -1, -1, 2, 3]
    assert series.bridged()[:, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert data.gaps == ()


@pytest.mark.parametrize("max_gap", [1, "15s", "10s"])
def test_long_gaps_break_a_series(max_gap: int | str) -> None:
    data = read([0, 10, 40, 50, 70], max_gap=max_gap)
    (series,) = data.series
    assert series.segments() == (slice(0, 2), slice(2, 6))
    start = utc("2024-03-01")
    assert data.gaps == (Gap("", start + 10 * SECOND, start + 40 * SECOND, 2),)
    assert "1 long gap, of 2 time steps in all." in data.notes
    np.testing.assert_array_equal(series.bridged()[:, 0], [0, 1, 2, 3, 3.5, 4])


def test_gaps_of_years_take_no_memory() -> None:
    data = read([0, 1, 2, 3e8, 3e8 + 1])
    assert len(data.series[0].values) == 5
    assert data.gaps[0].n_missing == 3e8 - 3


def test_max_gap_is_checked() -> None:
    for bad in (-1, 1.5, True):
        with pytest.raises(ParameterError, match="max_gap must be a number of steps from 0"):
            read([0, 1], max_gap=bad)


def test_missing_values_are_not_measured() -> None:
    data = read([0, 1, 2, 3], [1, NAN, 3, NAN])
    np.testing.assert_array_equal(data.series[0].values[:, 0], [1, NAN, 3])
    assert data.status == ("", "all values missing", "", "all values missing")
    without_time = read_series(np.array([[1.0], [NAN], [3.0], [np.inf], [5.0]]), max_gap=0)
    check_rows(without_time)
    assert [len(range(*part.indices(3))) for part in without_time.series[0].segments()] == [1, 1, 1]
    assert without_time.gaps == (Gap("", 0, 2, 1), Gap("", 2, 4, 1))


def test_rows_without_time_have_a_reason() -> None:
    frame = frame_at([0, 1, 2]).reset_index(names="time")
    frame.loc[1, "time"] = pd.NaT
    data = read_series(frame)
    check_rows(data)
    assert data.status == ("", "no time", "")


def test_steps_may_jitter() -> None:
    rng = np.random.default_rng(0)
    seconds = 60.0 * np.arange(500) + rng.uniform(-3, 3, 500)
    data = read(seconds.tolist())
    assert data.step == pytest.approx(60 * SECOND, rel=1e-3)
    assert data.status == ("",) * 500
    (series,) = data.series
    assert len(series.values) == 500
    times = frame_at(seconds.tolist()).index.as_unit("ns").asi8
    assert np.abs(series.times - times).max() < 8 * SECOND


def test_times_to_show_are_as_exact_as_the_stamps() -> None:
    rng = np.random.default_rng(0)
    at = 60 * np.r_[np.arange(200), np.arange(260, 400)] + rng.integers(-3, 4, 340)
    data = read(at.tolist())
    (series,) = data.series
    assert series.times is not None
    assert (series.times % SECOND).any()  # the grid lies where the rows are on average
    shown = series.moments(slice(None))
    assert not (shown % SECOND).any()
    assert np.abs(shown - series.times).max() <= SECOND / 2
    (gap,) = data.gaps
    start, end = series.starts[1] - 1, series.starts[1]
    assert [gap.start, gap.end] == series.moments([start, end]).tolist()


def test_a_slow_clock_only_moves_the_grid() -> None:
    seconds = 1.0003 * np.arange(10_000)
    data = read(seconds.tolist())
    assert data.step == round(1.0003 * SECOND)
    assert data.status == ("",) * 10_000


@pytest.mark.parametrize("step", [None, "10s"])
def test_rows_of_a_polling_loop_all_count(step: str | None) -> None:
    late = np.random.default_rng(0).integers(0, 300, 20_000) / 1000
    seconds = np.cumsum(10 + late)
    seconds[9000:] += 30.0
    data = read(list(np.r_[seconds[:100], seconds[100] - 6, seconds[100:]]), step=step)
    assert [i for i, status in enumerate(data.status) if status] == [100]
    (series,) = data.series
    assert (~series.measured).sum() == 3
    measured = series.times[series.measured]
    expected = utc("2024-03-01") + np.rint(seconds * SECOND)
    assert np.abs(measured - expected).max() <= 1000


def test_channels_at_different_times_have_one_grid() -> None:
    rows = [(60 * i + shift, name, i) for i in range(50) for name, shift in (("a", 0), ("b", 35))]
    seconds, names, values = zip(*rows, strict=True)
    times = pd.Timestamp("2024-03-01") + pd.to_timedelta(seconds, unit="s")
    frame = pd.DataFrame({"m": names, "v": values}, index=times)
    data = read_series(frame, metric_column="m", value_column="v")
    check_rows(data)
    assert data.step == MINUTE
    assert len(data.series[0].values) in (50, 51)
    assert not any(data.status)


def test_rows_in_one_time_step_have_a_reason() -> None:
    data = read([0, 10, 20, 24, 30, 40], [0, 1, 2, 2.4, 3, 4])
    assert data.series[0].values[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert data.status == ("", "", "", "same time step as row 3", "", "")


def test_grid_lies_where_most_rows_do() -> None:
    data = read([4, 10, 20, 30, 40, 50])  # the first row is late
    assert ((data.series[0].times // SECOND) % 10 == 0).all()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([60, 60, 60, 61, 120], 60),
        ([58, 60, 61, 62, 120], 60),
        ([1, 1, 1, 1, 1000, 1000, 1000, 1000, 1000], 1000),
        ([7], 7),
    ],
)
def test_commonest_steps(steps: list[int], expected: int) -> None:
    assert commonest_step(np.array(steps)).ns == expected


def test_another_step_than_in_training_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        read([0, 10, 20], step=MINUTE)
    assert str(caught.value) == (
        "Expected a row every 1 minute, as in training, got one every 10 seconds. Give data with "
        "the step of training, or fit to data with this step."
    )
    assert read([0, 61, 120, 180], step="1min").step == MINUTE


def test_irregular_rows_need_a_step() -> None:
    seconds = (2.0 ** np.arange(12)).tolist()
    with pytest.raises(DataError, match=r"too irregular for a grid.*Give step, such as '1min'."):
        read(seconds)
    data = read(seconds, step="10s", duplicates="mean")
    assert data.step == 10 * SECOND
    assert all(data.status[i] == "" or "same time step" in data.status[i] for i in range(12))


def test_the_commonest_step_of_long_rows_is_that_of_each_channel(written) -> None:
    times = pd.date_range("2024-03-01", periods=40, freq="min")
    rows = [
        f"{time + pd.Timedelta(7 * i, 's')},{name},{k}"
        for i, name in enumerate("abc")
        for k, time in enumerate(times)
    ]
    data = written("\n".join(["time,m,v", *rows]), metric_column="m", value_column="v")
    assert data.step == MINUTE
    np.testing.assert_array_equal(data.series[0].values, np.repeat(np.arange(40), 3).reshape(40, 3))
    assert data.points.tolist() == [*range(40)] * 3


def test_values_of_home_assistant_hold_until_the_next(written) -> None:
    changes = [
        ("lamp", "on", "00:00:00"),
        ("heat", "20.5", "00:00:00.1"),
        ("heat", "21", "00:01:00.1"),
        ("lamp", "off", "00:01:10"),
        ("lamp", "on", "00:01:20"),
        ("heat", "unavailable", "00:02:00.1"),
        ("lamp", "unavailable", "00:09:00"),
        ("heat", "22", "00:10:00"),
    ]
    lines = [f"{entity},{state},2024-05-01T{time}Z" for entity, state, time in changes]
    content = "\n".join(["entity_id,state,last_changed", *lines])
    data = written(content)
    assert (data.channels, data.step) == (("heat", "lamp"), MINUTE)
    (series,) = data.series
    held = [[NAN, 1], [20.5, 1], [21, 1], *[[NAN, 1]] * 6, [NAN, NAN], [22, NAN]]
    np.testing.assert_array_equal(series.values, held)
    assert data.gaps == ()
    assert data.status == (
        *("", "", "", "changed again in the same time step", ""),
        *("all values missing", "all values missing", ""),
    )
    # Changes need not come at the step of training.
    assert len(written(content, step="5s").series[0].values) == 121
    with pytest.raises(DataError, match=r"600,000,001 time steps of 1 microsecond with 2 channels"):
        written(content, step="1us")


@pytest.mark.parametrize("seed", range(60))
def test_random_rows_have_a_nearby_grid_point_or_a_reason(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, max_gap = 80, int(rng.integers(0, 6))
    steps = rng.choice([0, 0.1, 5, 10, 10, 10, 10, 20, 30, 80, 500], n)
    seconds = np.round(np.cumsum(steps + rng.normal(0, rng.choice([0.01, 0.3]), n)), 3)
    values = rng.integers(0, 3, (n, 2)).astype(float)
    values[rng.random((n, 2)) < 0.2] = NAN
    index = pd.Timestamp("2024-03-01") + pd.to_timedelta(rng.permutation(seconds), unit="s")
    frame = pd.DataFrame(values, index=index, columns=["a", "b"])
    frame["pump"] = rng.choice(["x", "y"], n)
    data = read_series(frame, series_column="pump", step="10s", duplicates="last", max_gap=max_gap)
    check_rows(data)
    usable = data.points >= 0
    times = np.concatenate([one.times for one in data.series])
    distance = times[data.points[usable]] - frame.index.as_unit("ns").asi8[usable]
    assert np.abs(distance).max() <= data.step / 2
    found = data.by_row([one.values for one in data.series])[usable]
    alone = np.bincount(data.points[usable])[data.points[usable]] == 1
    given = values[usable]
    assert ((found == given) | np.isnan(given))[alone].all()
    for one in data.series:
        for part in one.segments():
            measured = np.flatnonzero(one.measured[part])
            assert measured[0] == 0
            assert measured[-1] == part.stop - part.start - 1
            assert np.diff(measured).max(initial=1) <= max_gap + 1
    assert len(data.gaps) == sum(len(one.starts) - 1 for one in data.series)


# ------------------------------------------------------------------- arrays and data frames


def test_arrays_and_lists() -> None:
    rows = np.arange(6.0).reshape(3, 2)
    data = read_series(rows)
    check_rows(data)
    assert data.channels == ("channel_1", "channel_2")
    assert (data.step, data.n_rows, data.times_text) == (None, 3, None)
    np.testing.assert_array_equal(data.series[0].values, rows)
    assert read_series([1, 2, 3]).series[0].values.tolist() == [[1], [2], [3]]
    data = read_series([rows, rows[:2]])
    check_rows(data)
    assert [one.name for one in data.series] == ["0", "1"]
    assert data.series[1].rows.tolist() == [3, 4]
    data = read_series({"a": rows[:, 0], "b": rows[:, 1]})
    assert [one.name for one in data.series] == ["a", "b"]
    masked = np.ma.masked_equal(rows, 3.0)
    assert np.isnan(read_series(masked).series[0].values[1, 1])


def test_arrays_that_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"got an array of shape \(2, 3, 4, 5\). Windows that are cut"
    ):
        read_series(np.zeros((2, 3, 4, 5)))
    with pytest.raises(DataError, match="same number of channels, got 1 and 2"):
        read_series([np.zeros((3, 1)), np.zeros((3, 2))])
    with pytest.raises(DataError, match="Expected a series of numbers"):
        read_series(["a", "b"])
    with pytest.raises(DataError, match="The list of series is empty"):
        read_series([])
    with pytest.raises(DataError, match="one row with a time and a value, got none in 2 rows"):
        read_series([NAN, NAN])
    with pytest.raises(DataError, match="got both in one list"):
        read_series([np.zeros(3), frame_at([0, 1])])


def test_data_frames() -> None:
    data = read([0, 1, 2])
    assert (data.step, data.channels) == (SECOND, ("flow",))
    assert data.series[0].times[0] == utc("2024-03-01")
    assert data.times_text.to_pylist()[0] == "2024-03-01 00:00:00"
    named = frame_at([0, 1]).rename_axis("when")
    assert read_series(named, time_column="when").step == SECOND
    assert read_series(named["flow"]).channels == ("flow",)
    data = read_series([frame_at([0, 1]), frame_at([5, 6, 7])])
    check_rows(data)
    assert [len(one.values) for one in data.series] == [2, 3]
    zoned = frame_at([0, 1]).tz_localize("Asia/Tokyo")
    assert read_series(zoned).series[0].times[0] == utc("2024-02-29 15:00")
    mixed = pd.DataFrame(
        {"time": ["2024-03-01", pd.NaT, pd.Timestamp("2024-03-02")], "v": [1, 2, 3]}
    )
    assert read_series(mixed).status == ("", "no time", "")
    with pytest.raises(DataError, match="same columns, 'flow', 'heat' differ"):
        read_series([frame_at([0, 1]), frame_at([0, 1]).rename(columns={"flow": "heat"})])


def test_interpolation_agrees_with_numpy() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(200, 3))
    values[rng.random((200, 3)) < 0.4] = NAN
    filled = interpolated(values, 200)
    for i in range(3):
        known = np.flatnonzero(~np.isnan(values[:, i]))
        inside = slice(known[0], known[-1] + 1)
        expected = np.interp(np.arange(200), known, values[known, i])[inside]
        np.testing.assert_allclose(filled[inside, i], expected, rtol=1e-12)
    limited = pd.DataFrame(interpolated(values, 2))
    gaps = pd.DataFrame(values).isna()
    lengths = gaps.apply(lambda c: c.groupby((~c).cumsum()).transform("sum"))
    assert not limited[gaps & (lengths > 2)].notna().any().any()


def test_no_segment_is_bridged_across_its_ends() -> None:
    values = np.array([[1.0], [NAN], [3.0], [NAN], [5.0]])
    series = Series("", None, values, ~np.isnan(values[:, 0]), np.arange(5), (0, 3), 1)
    np.testing.assert_array_equal(series.bridged()[:, 0], [1, 2, 3, NAN, 5])


# -------------------------------------------------------------------------- window lengths


@pytest.mark.parametrize(
    ("period", "expected"), [(32, 32), (50, 50), (100, 100), (288, 128), (20, 40), (500, 64)]
)
def test_windows_are_as_long_as_the_period(period: int, expected: int) -> None:
    steps = np.arange(3000)
    wave = np.sin(2 * np.pi * steps / period)
    assert window_length(wave[:, np.newaxis] + 0.01 * steps[:, np.newaxis]) == expected


def test_windows_of_series_without_a_period() -> None:
    rng = np.random.default_rng(0)
    assert window_length(rng.normal(size=(5000, 2))) == 64
    assert window_length(np.arange(1000.0)) == 64
    assert window_length(np.full((1000, 3), 7.0)) == 64
    assert window_length(np.full(1000, NAN)) == 64
    assert window_length(rng.normal(size=100)) == 25


def test_missing_values_hardly_change_a_window() -> None:
    wave = np.sin(2 * np.pi * np.arange(2000) / 70)
    wave[np.random.default_rng(0).random(2000) < 0.2] = NAN
    assert abs(window_length(wave) - 70) <= 1


def test_window_is_the_lag_of_the_highest_peak_of_the_autocorrelation() -> None:
    rng = np.random.default_rng(3)
    steps = np.arange(900)
    values = np.sin(2 * np.pi * steps / 45) + 0.5 * np.sin(2 * np.pi * steps / 30)
    values = values + 0.3 * rng.normal(size=900)
    rest = detrend(values)
    correlation = np.array([rest[lag:] @ rest[: 900 - lag] for lag in range(402)]) / (rest @ rest)
    lags = np.arange(32, 401)
    here = correlation[lags]
    is_peak = (here > correlation[lags - 1]) & (here > correlation[lags + 1])
    expected = min(int(lags[is_peak][np.argmax(here[is_peak])]), 128)
    assert window_length(values) == expected


# ------------------------------------------------------------------------------ real files

NAB = sorted(REAL.glob("nab/data/*/*.csv"))
SKAB = sorted(REAL.glob("skab/**/*.csv"))


@needs_real
@pytest.mark.parametrize("path", NAB, ids=lambda path: path.stem)
def test_series_of_nab(path: Path) -> None:
    data = read_series(path, duplicates="mean", timezone="UTC")
    check_rows(data)
    expected = pd.read_csv(path)
    assert data.n_rows == len(expected)
    usable = data.points >= 0
    values = data.by_row([one.values for one in data.series])[:, 0]
    counted = expected.groupby("timestamp")["value"].transform("mean").to_numpy()
    np.testing.assert_allclose(values[usable], counted[usable], rtol=1e-12)
    assert usable.mean() > 0.97


@needs_real
@pytest.mark.parametrize("path", SKAB, ids=lambda path: path.stem)
def test_files_of_skab(path: Path) -> None:
    labels = [] if path.stem == "anomaly-free" else ["anomaly", "changepoint"]
    data = read_series(path, ignore=labels)
    check_rows(data)
    expected = pd.read_csv(path, sep=";").drop(columns=["datetime", *labels])
    assert data.step == SECOND
    np.testing.assert_array_equal(data.by_row([one.values for one in data.series]), expected)


@needs_real
def test_an_ecg_without_times() -> None:
    data = read_series(REAL / "ecg_mba805.csv.gz", ignore=["label"])
    check_rows(data)
    assert (data.n_rows, data.channels, data.step) == (230_400, ("value",), None)


def test_grid_points_that_are_left_out_divide_a_series() -> None:
    frame = pd.DataFrame({"flow": np.arange(8.0)})
    frame.index = pd.date_range("2024-01-01", periods=8, freq="h", tz="UTC")
    data = read_series(frame)
    kept = np.array([True, True, False, False, True, True, True, False])
    found = data.only([kept], "labelled")
    (series,) = found.series
    assert series.values.ravel().tolist() == [0.0, 1.0, 4.0, 5.0, 6.0]
    assert series.rows.tolist() == [0, 1, 4, 5, 6]
    assert series.segments() == (slice(0, 2), slice(2, 5))
    assert [i for i, status in enumerate(found.status) if status == "labelled"] == [2, 3, 7]
    by_row = found.by_row([series.values])
    np.testing.assert_array_equal(by_row.ravel(), np.where(kept, np.arange(8.0), np.nan))
    none = data.only([np.zeros(8, dtype=bool)], "labelled")
    assert none.series[0].segments() == ()


# ------------------------------------------------------------------------------- counters


def test_counters_are_told_from_other_channels() -> None:
    rng = np.random.RandomState(0)
    total = np.cumsum(rng.poisson(3.0, size=2000)).astype(float)
    reset = np.where(np.arange(2000) < 900, total, total - total[899])
    reset[500:520] = NAN
    walk = np.cumsum(rng.normal(size=2000))
    saw = np.arange(2000.0) % 20  # falls too often
    few = np.repeat(np.arange(10.0), 200)
    values = np.column_stack([total, reset, walk, saw, few, np.ones(2000)])
    names = ("total", "reset", "walk", "saw", "few", "constant")
    notes = counter_notes([Segment.of(values)], names)
    assert notes == (
        "'total', 'reset' only rise, but for resets to a small value, as counters do: later "
        "values were never seen in training. Give differences from row to row instead, or leave "
        "them out with ignore.",
    )
    parts = [Segment(values, 0, 700), Segment(values, 700, 2000)]
    assert counter_notes(parts, names) == notes
    assert counter_notes([Segment.of(walk[:, None])], ("walk",)) == ()
