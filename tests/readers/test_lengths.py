"""Histograms and traces as they are published, and what is wrong with others."""

from __future__ import annotations

import json
import tracemalloc
from fractions import Fraction

import pytest

from optimizer.errors import SpecError
from optimizer.readers import traces
from optimizer.readers.lengths import read_lengths

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens\r
2023-11-16 18:15:46.6805900,374,44\r
2023-11-16 18:15:50.9951690,396,109\r
2023-11-16 18:16:51.2225670,879,55\r
2023-11-16 18:17:49.0000000,91,16\r
"""
# the first requests of each published file
MOONCAKE = [
    {"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [*range(14)]},
    {"timestamp": 0, "input_length": 7322, "output_length": 490, "hash_ids": [0, *range(14, 28)]},
    {"timestamp": 61000, "input_length": 2290, "output_length": 316, "hash_ids": [0, 42, 43, 44, 45]},
    {"timestamp": 125000, "input_length": 2290, "output_length": 1, "hash_ids": [0, 42, 43, 44, 45]},
]


def _read(path, **changes):
    own = {"most": 6, "window_s": None, "quantile": Fraction(99, 100), "with_decode": True, "with_rate": True}
    return read_lengths(path, **(own | changes))[:2]


def _day(path, **changes):
    own = {"most": 6, "window_s": Fraction(600), "quantile": Fraction(99, 100), "with_decode": True, "with_rate": False}
    return read_lengths(path, **(own | {"period_s": Fraction(3600)} | changes))


def _lines(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_azure_inference_traces(tmp_path):
    (file := tmp_path / "azure.csv").write_bytes(AZURE.encode())
    buckets, traffic = _read(file)
    assert [(b.input_tokens, b.output_tokens) for b in buckets][-1] == (879, 109)
    assert traffic.requests == 4
    assert traffic.mean_input_tokens == Fraction(374 + 396 + 879 + 91, 4)
    own = traffic.arrivals
    # two windows from 18:15:46 on, the third not whole: 2 and 1 requests
    assert (own.windows, own.served_per_s, own.mean_per_s) == (2, Fraction(2, 60), Fraction(3, 2) / 60)
    assert own.dispersion == Fraction(1, 4) / Fraction(3, 2)
    assert _read(file, quantile=Fraction(1, 2))[1].arrivals.served_per_s == Fraction(1, 60)


def test_azure_traces_of_2024_have_a_time_zone(tmp_path):
    (file := tmp_path / "a.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n"
        "2024-05-10 02:01:00.017335+02:00,2399,6\n"
    )
    assert _read(file)[1].arrivals.windows == 1


def test_mooncake_traces_have_milliseconds_and_blocks(tmp_path):
    _, traffic = _read(_lines(tmp_path / "m.jsonl", MOONCAKE))
    assert traffic.arrivals.windows == 2
    assert traffic.arrivals.peak_per_s == Fraction(2, 60)
    assert traffic.prefix_share == Fraction(1 + 1 + 5, 14 + 15 + 5 + 5)


def test_qwen_traces_have_seconds(tmp_path):
    entries = [entry | {"chat_id": 1, "timestamp": entry["timestamp"] / 1000} for entry in MOONCAKE]
    _, traffic = _read(_lines(tmp_path / "q.jsonl", entries))
    assert traffic.arrivals.windows == 2


def test_offline_traces_of_servegen_have_no_arrivals(tmp_path):
    entry = {"request_id": 0, "type": "text", "input_length": 61, "output_length": 2370, "duration": 14000}
    buckets, traffic = _read(_lines(tmp_path / "trace_d.jsonl", [entry, entry | {"output_length": 2031}]))
    assert traffic.arrivals is None
    assert [b.name for b in buckets] == ["61x2031", "61x2370"]


def test_burstgpt_and_vidur(tmp_path):
    (file := tmp_path / "b.csv").write_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n65,ChatGPT,1087,0,1087,Conversation log\n"
    )
    buckets, traffic = _read(file)
    assert traffic.arrivals.windows == 1
    assert traffic.mean_output_tokens == Fraction(18 + 1, 2)  # a request has at least its first token
    assert min(b.output_tokens for b in buckets) == 2  # and one that is decoded a second
    (file := tmp_path / "v.csv").write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,10,20\n60.6,10,20\n")
    assert _read(file)[1].arrivals.served_per_s == Fraction(1, 60)


def test_servegen_clients(tmp_path):
    for name, rate in (("0", 2.0), ("7", 0.5)):
        (tmp_path / f"chunk-{name}-trace.csv").write_text(f"0,0,0,,0,0\n600,{rate},10.4,Weibull,0.35,0.29\n1200,,,,,\n")
        data = {"600": {"input_tokens": "{100: 0.25, 200: 0.75}", "output_tokens": "{10: 0.5, 20: 0.5}"}}
        data["0"] = {"input_tokens": "{}", "output_tokens": "{}"}
        (tmp_path / f"chunk-{name}-dataset.json").write_text(json.dumps(data))
    buckets, traffic = _read(tmp_path)
    assert buckets[-1].name == "200x20"
    assert (traffic.requests, traffic.mean_input_tokens, traffic.mean_output_tokens) == (1500, 175, 15)
    own = traffic.arrivals
    assert (own.window_s, own.windows, own.peak_per_s) == (600, 3, Fraction(5, 2))
    with pytest.raises(SpecError, match="not whole windows"):
        _read(tmp_path, window_s=Fraction(700))
    (tmp_path / "chunk-7-dataset.json").write_text('{"600": {"input_tokens": "{1: x}", "output_tokens": "{}"}}')
    with pytest.raises(SpecError, match=r"chunk-7-dataset.json:1:\d+: 600.input_tokens: '1: x' is no length"):
        _read(tmp_path)


def test_a_histogram_has_weights(tmp_path):
    (file := tmp_path / "h.csv").write_text("input_tokens,output_tokens,weight\n1000,100,0.7\n4000,200,0.3\n9000,9,0\n")
    buckets, traffic = _read(file, with_rate=False)
    assert [(b.name, b.share) for b in buckets] == [("1000x100", Fraction(7, 10)), ("4000x200", Fraction(3, 10))]
    assert traffic.input_rounding == traffic.output_rounding == 0


def test_requests_of_one_length_are_one_exact_bucket(tmp_path):
    (file := tmp_path / "o.csv").write_text("input_tokens,output_tokens\n" + "1237,301\n" * 50)
    buckets, traffic = _read(file)
    assert [(b.name, b.share) for b in buckets] == [("1237x301", 1)]
    assert traffic.input_rounding == traffic.output_rounding == 0


def test_rounding_is_what_is_priced_beyond_the_mean(tmp_path):
    (file := tmp_path / "r.csv").write_text("input_tokens,output_tokens\n100,10\n300,10\n")
    assert _read(file, most=1)[1].input_rounding == Fraction(300, 200) - 1


HEAD = "input_tokens,output_tokens,arrival_s\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (HEAD, "has no requests"),
        (HEAD + "10,20,0\n-1,20,1\n", r"b.csv:3:1: input_tokens: '-1' is no whole number"),
        (HEAD + "10,nan,0\n", r"b.csv:2:2: output_tokens: 'nan' is no whole"),
        (HEAD + "10,1e400,0\n", r"b.csv:2:2: output_tokens"),
        (HEAD + "10,2.5,0\n", r"b.csv:2:2: output_tokens"),
        (HEAD + "10,1/2,0\n", r"b.csv:2:2: output_tokens"),
        (HEAD + "999999999,20,0\n", r"b.csv:2:1: input_tokens"),
        (HEAD + "10,20,inf\n", r"b.csv:2:3: arrival_s: 'inf' is no time in s"),
        (HEAD + "10,20\n", r"b.csv:2: 2 cells under 3 columns"),
        (HEAD + "10,20,0\n", "spans less than a window of 60 s"),
        ("input_tokens,output\n1,2\n", r"output_tokens: is missing"),
        ("input_tokens,output_tokens,timestamp\n1,2,17\n", r"b.csv:2:3: timestamp: '17' is no date and time: name"),
        ("input_length,output_length,timestamp\n1,2,17\n", r"timestamp: in which unit"),
        ("input_tokens,output_tokens,weight\n1,2,-3\n", r"b.csv:2:3: weight"),
        ("input_tokens,output_tokens,weight\n1,2,0\n", "has no requests"),
        ("input_tokens,input_tokens,output_tokens\n1,2,3\n", "two columns of one name"),
        (HEAD + '"10,20,0\n' * 3, "is no CSV|cells under"),
        (HEAD + "10,20,0\n10,20,1e13\n", "state a longer window"),
        ('{"input_length": NaN, "output_length": 2}\n', r"b.csv:1: input_length: 'NaN' is no whole"),
        ('{"input_length": true, "output_length": 2}\n', r"b.csv:1: input_length: True is no whole"),
        ('{"input_length": 1, "output_length": 2}\n{"input_length"\n', r"b.csv:2:16: is no JSON"),
        ('{"input_length": 1, "output_length": 2}\n[1]\n', r"b.csv:2: \[1\] is no request"),
        ('{"input_length": 1, "output_length": 2}\n{}\n', r"b.csv:2: input_length: None is no whole"),
        ("[" * 100000, "is missing"),
        ('{"a":' * 100000, "is no JSON"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 2, "hash_ids": [-1]}\n', "-1 is no block number"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 2, "hash_ids": 3}\n', "3 is no list"),
        ("\0\0", "is a binary file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, said):
    (file := tmp_path / "b.csv").write_text(text)
    with pytest.raises(SpecError, match=said):
        _read(file)


def test_files_that_are_none(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        _read(tmp_path / "nothing.csv")
    with pytest.raises(SpecError, match="is a directory"):
        _read(tmp_path)
    (file := tmp_path / "b.csv").write_bytes(HEAD.encode() + b"1,2,\xff\n")
    with pytest.raises(SpecError, match=r"b.csv:2:5: is not UTF-8"):
        _read(file)


def test_only_the_first_faults_are_listed(tmp_path):
    (file := tmp_path / "b.csv").write_text(HEAD + "x,y,z\n" * 1000)
    with pytest.raises(SpecError) as error:
        _read(file)
    assert len(error.value.faults) == traces.MOST_FAULTS


def test_sizes_are_bounded(tmp_path, monkeypatch):
    (file := tmp_path / "b.csv").write_text(HEAD + "1,2,3\n" * 50)
    monkeypatch.setattr(traces, "MOST_REQUESTS", 20)
    with pytest.raises(SpecError, match=r"b.csv:22: has more than 20 lines"):
        _read(file)
    monkeypatch.undo()
    monkeypatch.setattr(traces, "LONGEST_LINE_BYTES", 100)
    file.write_text(HEAD + "1" * 101)
    with pytest.raises(SpecError, match=r"b.csv:2: a line of more than"):
        _read(file)
    monkeypatch.undo()
    monkeypatch.setattr(traces, "MOST_STEPS", 5)
    file.write_text(HEAD + "".join(f"1,2,{n}\n" for n in range(50)))
    with pytest.raises(SpecError, match="more than 5 steps of 1 s"):
        _read(file)


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for lines in (10_000, 60_000):
        (file := tmp_path / "b.csv").write_text(
            HEAD + "".join(f"{1 + n % 97},{1 + n % 31},{n // 20}\n" for n in range(lines))
        )
        tracemalloc.start()
        _read(file)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


@pytest.mark.parametrize("name", ["weight", "count", "requests"])
def test_a_histogram_says_how_many_by_any_usual_name(tmp_path, name):
    (file := tmp_path / "h.csv").write_text(f"input_tokens,output_tokens,{name}\n500,100,60\n8000,500,20\n")
    traffic = _read(file)[1]
    assert traffic.requests == 80
    assert traffic.mean_input_tokens == Fraction(500 * 60 + 8000 * 20, 80)


def test_a_column_that_may_be_a_weight_is_not_left_unread(tmp_path):
    (file := tmp_path / "h.csv").write_text("input_tokens,output_tokens,share\n500,100,60\n8000,500,20\n")
    with pytest.raises(SpecError, match=r"h.csv:1: share: what it holds is not known: name it weight"):
        _read(file)
    for both in ("weight,count", "arrival_s,weight", "timestamp,requests"):
        file.write_text(f"input_tokens,output_tokens,{both}\n500,100,1,2\n")
        first, second = both.split(",")
        with pytest.raises(SpecError, match=rf"h.csv:1: {second}: says how often.*'{first}': leave one of them out"):
            _read(file)
    lines = _lines(tmp_path / "h.jsonl", [{"input_tokens": 5, "output_tokens": 1, "n": 60}])
    with pytest.raises(SpecError, match=r"h.jsonl:1: n: what it holds is not known"):
        _read(lines)
    file.write_text("input_tokens,output_tokens,arrival_s,id\n" + "".join(f"500,100,{n},x\n" for n in range(200)))
    assert _read(file)[1].requests == 200


def test_a_request_beyond_the_context_is_refused(tmp_path):
    (file := tmp_path / "h.csv").write_text("input_tokens,output_tokens\n900,10\n10,90\n")
    # each fits, though a bucket of 900 and 90 would not
    assert _read(file, context=910)[0]
    with pytest.raises(SpecError, match=r"has a request of 910 tokens, more than the 909 that the model can hold"):
        _read(file, context=909)


@pytest.mark.parametrize("text", ["", "\n", "\n\n1,2\n"])
def test_an_empty_file_is_said_to_be_empty(tmp_path, text):
    (file := tmp_path / "h.csv").write_text(text)
    with pytest.raises(SpecError, match=r"h.csv:1: is empty"):
        _read(file)


def test_a_trace_by_hours_of_the_day_counts_every_request_where_it_came(tmp_path):
    rows = ["timestamp,input_tokens,output_tokens"]
    # two days: 8 o'clock is twice as busy on the second, and long; 9 o'clock is short
    for day, minutes in ((1, 4), (2, 2)):
        rows += [f"2026-01-0{day} 08:{m:02}:00,3000,50" for m in range(0, 60, minutes)]
        rows += [f"2026-01-0{day} 09:{m:02}:30,100,50" for m in range(0, 60, 10)]
    (file := tmp_path / "day.csv").write_text("\n".join(rows) + "\n")
    buckets, traffic, day = _day(file)
    assert day.dated
    assert [bucket.input_tokens for bucket in buckets] == [100, 3000]
    # hours between the days are spanned, and empty
    assert len(day.periods) == 24
    assert day.periods[8].shares == (0, 1)
    assert day.periods[9].shares == (1, 0)
    assert day.periods[10].shares == ()
    busy = day.periods[8].arrivals
    assert (busy.windows, busy.peak_per_s, busy.served_per_s) == (12, Fraction(5, 600), Fraction(5, 600))
    assert busy.mean_per_s == Fraction(45, 12 * 600)
    counts = [3, 2] * 3 + [5] * 6
    mean = Fraction(sum(counts), 12)
    assert busy.dispersion == (Fraction(sum(c * c for c in counts), 12) - mean * mean) / mean
    # the last window of the trace is not whole: 9 o'clock has one less
    assert day.periods[9].arrivals.windows == 11
    assert day.periods[3].arrivals.served_per_s == 0
    whole = sum(own.arrivals.mean_per_s * own.arrivals.windows * 600 for own in day.periods.values())
    assert whole == traffic.requests - 1
    assert _day(file, quantile=Fraction(1, 2))[2].periods[8].arrivals.served_per_s == Fraction(3, 600)
    assert _day(file, period_s=None)[2] is None


def test_a_trace_from_some_start_begins_its_day_there(tmp_path):
    entries = [{"timestamp": 1000 * s, "input_length": 10, "output_length": 2, "hash_ids": [1]} for s in range(1200)]
    day = _day(_lines(tmp_path / "m.jsonl", entries), period_s=Fraction(600), window_s=Fraction(60))[2]
    assert not day.dated
    assert [(part, own.arrivals.windows, own.arrivals.served_per_s) for part, own in day.periods.items()] == [
        (0, 10, 1), (1, 10, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"period_s": Fraction(7 * 3600)}, "no whole part of a day"),
        ({"period_s": Fraction(3600), "window_s": Fraction(7)}, "not whole windows of 7 s"),
        ({"period_s": Fraction(900), "window_s": Fraction(1800)}, "not whole windows of 1800 s"),
    ],
)
def test_periods_that_do_not_divide(tmp_path, changes, message):
    (file := tmp_path / "azure.csv").write_bytes(AZURE.encode())
    with pytest.raises(SpecError, match=message):
        _day(file, **changes)


def test_clients_have_the_lengths_of_those_that_come_in_a_period(tmp_path):
    shares = {"input_tokens": "{100: 1.0}", "output_tokens": "{10: 1.0}"}
    for number, (hours, tokens) in enumerate(((range(2), 100), (range(1, 4), 1000))):
        (tmp_path / f"chunk-{number}-trace.csv").write_text(
            "".join(f"{h * 3600},{2.0 if h in hours else 0.0},1,Gamma\n" for h in range(4))
        )
        own = shares | {"input_tokens": f"{{{tokens}: 1.0}}"}
        (tmp_path / f"chunk-{number}-dataset.json").write_text(json.dumps({str(h * 3600): own for h in hours}))
    _, _, day = _day(tmp_path, window_s=None)
    assert [own.arrivals.served_per_s for own in day.periods.values()] == [2, 4, 2, 2]
    assert [own.shares for own in day.periods.values()] == [(1, 0), (Fraction(1, 2), Fraction(1, 2)), (0, 1), (0, 1)]
