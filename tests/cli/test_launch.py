"""`--from` in verify, solve and explain, and `export` of what was solved."""

import json
from pathlib import Path

import pytest

from optimizer.cli.main import run

SERVED = "vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2 --gpu-memory-utilization 0.9 --seed 1"


def _json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict:
    assert run([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_verify_tells_layout_figures_and_what_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "verify", "--from", SERVED, "--hardware", "h100-sxm-8")
    assert found["feasible"]
    assert found["layout"]["tp"] == 2
    assert found["command"]["engine"] == "vllm"
    assert found["command"]["flags"]["-tp"] == "2"
    assert found["command"]["ignored"] == [{"flag": "--seed", "value": "1", "changes": None}]
    assert found["figures"]["memory_bytes"] > 0
    better = found["better"]
    assert better["objective"]["value"] > better["objective"]["launch"]
    assert {"flag": "--tensor-parallel-size", "from": "2", "to": "1"} in better["flags"]


def test_a_checkpoint_in_the_local_cache_is_the_one_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A download outranks the catalog's entry that its name resembles: it says what it is."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--someone--Qwen3-8B-Instruct" / "snapshots" / "a1"
    snapshot.mkdir(parents=True)
    small = Path(__file__).parents[1] / "data" / "configs" / "Qwen3-0.6B.json"
    (snapshot / "config.json").write_text(small.read_text())
    found = _json(capsys, "verify", "--from", "vllm serve someone/Qwen3-8B-Instruct", "--hardware", "h100-sxm-8")
    assert found["figures"]["parameters"] == 596_049_920
    alike = _json(capsys, "verify", "--from", "vllm serve other/Qwen3-8B-Instruct", "--hardware", "h100-sxm-8")
    assert alike["figures"]["parameters"] == 8_190_735_360


def test_a_better_chunk_is_whole_pages_of_flags_that_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside ``--page-size 96`` SGLang takes chunks of whole pages alone."""

    def chunk(flags: str) -> int:
        command = f"sglang serve Qwen/Qwen3-32B --tp 4 {flags}"
        found = _json(capsys, "verify", "--from", command, "--hardware", "h200-sxm-8", "--isl", "1000")
        told = {row["flag"]: row["to"] for row in found["better"]["flags"]}
        return int(told["--chunked-prefill-size"])

    assert chunk("") % 96
    assert chunk("--page-size 96") % 96 == 0


def test_verify_refuses_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    command = "vllm serve deepseek-ai/DeepSeek-V3 -tp 8"
    found = _json(capsys, "verify", "--from", command, "--hardware", "h100-sxm-8", status=1)
    assert [item["family"] for item in found["violations"]] == ["memory"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["--from", "vllm serve Qwen/Qwen3-8B", "--hardware", "h100-sxm-8"], ["assumed", "command", "flags"]),
        (["--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "2"], ["assumed"]),
        (["--model", "llama-3.1-405b", "--hardware", "h100-sxm-8", "--devices", "2"], ["assumed"]),
    ],
)
def test_what_a_line_asked_for_can_be_certified(
    line: list[str], told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "result.json")
    run(["solve", *line, "--out", file])
    capsys.readouterr()
    assert run(["certify", file, "--json"]) == 0
    assert set(told) <= set(json.loads(capsys.readouterr().out)["not_checked"])


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        ("", 1),
        ("--max-model-len 131072", 1),
        ("--max-model-len 8192", 0),
        ("--max-model-len auto", 0),
        # 64 sequences are sampled at once, not 1,024: room for more of the cache
        ("--max-model-len 10000", 1),
        ("--max-model-len 10000 --max-num-seqs 64 --max-num-batched-tokens 2048", 0),
    ],
)
def test_an_engine_does_not_start_where_one_sequence_does_not_fit(
    flags: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a length vLLM takes the 131,072 tokens of the model, which two H100 do not hold beside 70B in BF16."""
    command = f"vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 2 {flags}"
    found = _json(capsys, "verify", "--from", command, "--hardware", "h100-sxm-8", status=status)
    if status:
        assert "does not start: to serve at least one request" in found["violations"][0]["message"]
    if "batched" in flags:
        assert found["layout"]["prefill_chunk"] < 2048


YARN = '{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32768}'


@pytest.mark.parametrize(
    ("command", "hardware", "fits", "longest"),
    [
        # 32,768 tokens take 1.75 GiB of 4.54, and its base's 131,072 would take 7.00
        ("vllm serve Qwen/Qwen2.5-7B-Instruct", "l4-8", "yes", 32_768),
        ("vllm serve Qwen/Qwen2.5-7B", "l4-8", "no", 131_072),
        ("vllm serve Qwen/Qwen3-30B-A3B", "h100-sxm-8", "yes", 40_960),
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2507", "h100-sxm-8", "no", 262_144),
        ("vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct", "h100-sxm-8", "no", 262_144),
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2507 --max-model-len 65536", "h100-sxm-8", "yes", 65_536),
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2507 --max-model-len auto", "h100-sxm-8", "yes", 133_024),
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2512 --max-model-len -1", "h100-sxm-8", "yes", 40_960),
        ("vllm serve Qwen/Qwen3-30B-A3B --max-model-len auto", "h100-sxm-8", "yes", 40_960),
        # of releases that nothing tells about, an engine asks for what it finds
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2512", "h100-sxm-8", "may not fit", 40_960),
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2512 --max-model-len 65536", "h100-sxm-8", "may not fit", 65_536),
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2512 --max-model-len 8192", "h100-sxm-8", "yes", 8_192),
        ("sglang serve --model-path Qwen/Qwen3-30B-A3B-Instruct-2512", "h100-sxm-8", "yes", 40_960),
        ("vllm serve meta-llama/Llama-4-Scout-17B-16E -tp 8", "h100-sxm-8", "no", 10_485_760),
        # and what changes the positions of a config.json changes what is asked for
        (f"vllm serve Qwen/Qwen3-8B --rope-scaling '{YARN}'", "h100-sxm-8", "may not fit", 40_960),
        (f"vllm serve Qwen/Qwen3-8B --rope-scaling '{YARN}' --max-model-len 131072", "h100-sxm-8", "yes", 131_072),
        ("VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 vllm serve Qwen/Qwen3-8B --max-model-len 65536", "h100-sxm-8", "yes", 65_536),
    ],
)  # fmt: skip
def test_a_checkpoint_is_judged_at_its_own_context(
    command: str, hardware: str, fits: str, longest: int | None, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    found = _json(capsys, "verify", "--from", command, "--hardware", hardware, status=int(fits == "no"))
    assert found["fits"] == fits
    told = " ".join((*found["assumed"], *found["doubts"], *found["not_checked"]))
    assert ("context of" in told) == (
        "2512" in command or "16E" in command or (YARN in command and "len" not in command)
    )
    if longest is not None and fits != "no":
        assert found["figures"]["longest_context_tokens"] >= longest
    if longest is not None and fits == "no":
        assert f"({longest})" in found["violations"][0]["message"]


@pytest.mark.parametrize(
    ("command", "known"),
    [
        ("vllm serve Qwen/Qwen2.5-7B-Instruct --max-model-len 72000", "32768"),
        ("vllm serve Qwen/Qwen2.5-72B-Instruct-AWQ -tp 2 --max-model-len 65536", "32768"),
        ("vllm serve Qwen/Qwen3-30B-A3B --max-model-len 65536", "40960"),
        ("vllm serve microsoft/Phi-4-reasoning --max-model-len 65536", "32768"),
        ("VLLM_ALLOW_LONG_MAX_MODEL_LEN=0 vllm serve Qwen/Qwen3-8B --max-model-len 65536", "40960"),
        ("vllm serve Qwen/Qwen3-8B --max-model-len 65536 --override-generation-config '{}'", "40960"),
        ("vllm serve Qwen/Qwen3-30B-A3B-Instruct-2507 --max-model-len 300000", "262144"),
    ],
)
def test_more_than_a_checkpoint_knows_is_refused(
    command: str, known: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    found = _json(capsys, "verify", "--from", command, "--hardware", "h100-sxm-8", status=2)
    assert f"more than the {known} tokens" in found["errors"][0]["message"]
    assert found["errors"][0]["field"] == "--max-model-len"


@pytest.mark.parametrize(("share", "longest"), [("0.9", 205_728), ("0.95", 235_296)])
def test_the_longest_sequence_is_what_the_engine_said(
    share: str, longest: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """vllm-project/recipes pull request 12: 62.00 GiB are needed, and vLLM's own estimate of the longest length."""
    served = "vllm serve Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8 --served-model-name Q -dp=8 --enable-expert-parallel"
    command = f"{served} --enable-auto-tool-choice --tool-call-parser qwen3_coder --gpu-memory-utilization {share}"
    found = _json(capsys, "verify", "--from", command, "--hardware", "h200-sxm-8", status=1)
    numbers = found["violations"][0]["numbers"]
    assert numbers["needed_bytes"] == 62 * 2**30
    assert numbers["longest"] == pytest.approx(longest, rel=0.035)
    assert any("every matrix in fp8" in item for item in found["assumed"])


def test_the_static_fraction_is_of_weights_and_cache_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """SGLang: a tenth more is a tenth of the memory more of cache; what steps and graphs take comes out of the rest."""

    def room(flags: str, status: int = 0) -> dict:
        command = f"python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp-size 8 {flags}"
        return _json(capsys, "verify", "--from", command, "--hardware", "h200-sxm-8", status=status)

    less, more = (room(f"--mem-fraction-static {share}") for share in (0.7, 0.8))
    grown = more["figures"]["kv_cache_room_bytes"] - less["figures"]["kv_cache_room_bytes"]
    assert 0.1 * 137e9 < grown < 0.1 * 151e9
    assert less["layout"]["batch"] < more["layout"]["batch"]
    # 89 GB of weights are more than half of 150 GB
    assert room("--mem-fraction-static 0.5", 1)["violations"][0]["family"] == "memory"
    # without a share SGLang takes the one that its estimate of a step leaves: 0.885 here
    assert less["layout"]["batch"] < room("")["layout"]["batch"] < room("--mem-fraction-static 0.9")["layout"]["batch"]


@pytest.mark.parametrize(("share", "said"), [("0.92", False), ("0.85", True)])
def test_a_name_that_leaves_open_what_is_quantised_is_told_where_it_matters(
    share: str, said: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Meta's FP8 checkpoint of 405B keeps attention in 16 bits, 9 GB a device more than the name says; others not."""
    command = f"vllm serve someone/Llama-3.1-405B-Instruct-FP8 -tp 8 --gpu-memory-utilization {share}"
    found = _json(capsys, "verify", "--from", command, "--hardware", "h100-sxm-8")
    assert (found["fits"] == "may not fit") is said
    assert any("attention is kept in 16 bits" in doubt for doubt in found["doubts"]) is said


@pytest.mark.parametrize(
    ("checkpoint", "hardware", "fits"),
    [
        # vllm issue 40291: memory ended in an o_proj when 29.39 GiB were allocated
        ("nvidia/Gemma-4-31B-IT-NVFP4 --quantization modelopt --max-model-len 8192", "rtx-5090-8", "no"),
        ("someone/Gemma-4-31B-IT-NVFP4 --quantization modelopt --max-model-len 8192", "rtx-5090-8", "may not fit"),
        ("nvidia/Gemma-4-31B-IT-NVFP4 --max-model-len 8192", "h100-sxm-8", "yes"),
        ("nvidia/Qwen3-235B-A22B-NVFP4 -tp 4", "b200-sxm-8", "yes"),
    ],
)
def test_a_quantised_checkpoint_of_a_known_maker_keeps_what_it_keeps(
    checkpoint: str, hardware: str, fits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _json(capsys, "verify", "--from", f"vllm serve {checkpoint}", "--hardware", hardware, status=fits == "no")
    assert found["fits"] == fits
    assert any("attention is kept in 16 bits" in doubt for doubt in found["doubts"]) is (fits == "may not fit")


def test_a_name_does_not_say_whether_widths_are_padded_to_whole_groups(capsys: pytest.CaptureFixture[str]) -> None:
    """Qwen's own 4-bit 72B have 29,696 for 29,568; checkpoints of others may not (vllm issue 13640)."""
    own = "vllm serve Qwen/Qwen2.5-72B-Instruct-AWQ --tensor-parallel-size 4"
    assert _json(capsys, "verify", "--from", own, "--hardware", "l40s-8")["fits"] == "yes"
    command = own.replace("Qwen/", "someone/")
    found = _json(capsys, "verify", "--from", command, "--hardware", "l40s-8", status=1)
    assert "pads its widths to whole groups" in found["not_checked"][0]


SGLANG = "python -m sglang.launch_server --model-path Qwen/Qwen3-8B"


@pytest.mark.parametrize(
    ("command", "hardware", "engine", "sequences", "tokens"),
    [
        # engine/arg_utils.py get_batch_defaults of vLLM 0.19.0, 0.24.0 and 0.33.0
        ("vllm serve Qwen/Qwen3-8B", "a100-sxm-8", "vllm", 256, 2048),
        ("vllm serve Qwen/Qwen3-8B", "l40s-8", "vllm", 256, 2048),
        ("vllm serve Qwen/Qwen3-8B", "gb10", "vllm", 256, 2048),
        ("vllm serve Qwen/Qwen3-8B", "h200-sxm-8", "vllm", 1024, 8192),
        ("vllm serve Qwen/Qwen3-8B", "b200-sxm-8", "vllm", 1024, 16_384),
        ("vllm serve Qwen/Qwen3-8B", "b200-sxm-8", "vllm@0.24", 1024, 8192),
        ("vllm serve Qwen/Qwen3-8B --max-num-batched-tokens 512", "h200-sxm-8", "vllm", 512, 512),
        ("vllm serve Qwen/Qwen3-8B --performance-mode throughput", "a100-sxm-8", "vllm", 512, 4096),
        (
            "vllm serve Qwen/Qwen3-8B --no-enable-chunked-prefill --max-model-len 16384",
            "a100-sxm-8", "vllm", 256, 16_384,
        ),
        # config/scheduler.py DEFAULT_MAX_NUM_BATCHED_TOKENS_FOR_BATCHED_DP
        (
            "vllm serve Qwen/Qwen3-30B-A3B -dp 8 --enable-expert-parallel --all2all-backend deepep_low_latency",
            "h200-sxm-8", "vllm", 256, 256,
        ),
        # arg_groups/memory_hook.py; a rank of attention takes its part of a step
        (SGLANG, "a100-sxm-8", "sglang", None, 8192),
        (SGLANG, "l40s-8", "sglang", None, 4096),
        (f"{SGLANG} --tp-size 4 --dp-size 4 --enable-dp-attention", "b200-sxm-8", "sglang", None, 4096),
        ("trtllm-serve Qwen/Qwen3-8B", "a100-sxm-8", "trtllm", 2048, 8192),
    ],
)  # fmt: skip
def test_a_flag_that_is_not_given_is_the_engines_default(
    command: str, hardware: str, engine: str, sequences: int | None, tokens: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The launch that is asked about is priced: what it leaves to the engine is what the engine takes, and said."""
    asked = ("--from", command, "--hardware", hardware, "--engine", engine, "--isl", "16", "--osl", "64")
    found = _json(capsys, "verify", *asked)
    said = " ".join(found["assumed"])
    if "--max-num-batched-tokens" not in command:
        assert f"max_num_batched_tokens {tokens:,}: default of {engine.partition('@')[0]}" in said
    if sequences is not None:
        assert f"max_num_seqs {sequences:,}: default of" in said
        # what a step takes beside them may leave room for fewer
        batch = found["layout"]["batch"]
        assert batch == sequences if tokens >= 4 * sequences else batch <= sequences


def test_sglang_takes_no_more_requests_than_its_pool(capsys: pytest.CaptureFixture[str]) -> None:
    """resolve_max_num_reqs: the cache's tokens over the longest sequence · 512, 2,048 to 4,096."""
    asked = ("--hardware", "h200-sxm-8", "--isl", "8", "--osl", "16")
    most = [
        _json(capsys, "verify", "--from", f"{SGLANG} {flags}", *asked)["layout"]["batch"]
        for flags in ("--mem-fraction-static 0.25", "--context-length 512", "--max-running-requests 100")
    ]
    assert most == [2048, 4096, 100]


def test_tensorrt_llm_shares_out_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """free_gpu_memory_fraction is of what weights and a step leave, not of the device."""

    def room(share: str) -> float:
        command = f"trtllm-serve Qwen/Qwen3-32B --kv_cache_free_gpu_memory_fraction {share}"
        found = _json(capsys, "verify", "--from", command, "--hardware", "h100-sxm-8")
        return float(found["figures"]["kv_cache_room_bytes"])

    assert room("0.9") == pytest.approx(1.5 * room("0.6"), rel=1e-6)


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("python -m sglang.launch_server --model-path Qwen/Qwen3-8B {}",
         ("--enable-prefill-delayer", "--scheduler-recv-interval 10")),
        ("trtllm-serve Qwen/Qwen3-8B --extra_llm_api_options {}/waits.yaml", ("batch_wait_timeout_ms: 50",)),
    ],
)  # fmt: skip
def test_a_wait_for_a_chunk_to_fill_is_priced_nowhere_and_said(
    command: str, flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No engine waits by default: figures are those of the launch without, and the flag that waits is named."""
    asked = ("--hardware", "h100-sxm-8", "--isl", "1000", "--osl", "100")
    (tmp_path / "waits.yaml").write_text("max_batch_size: 8\n")
    plain = _json(capsys, "verify", "--from", command.format(tmp_path if "{}/" in command else ""), *asked)
    (tmp_path / "waits.yaml").write_text("max_batch_size: 8\n" + "\n".join(flags))
    waiting = command.format(tmp_path if "{}/" in command else " ".join(flags))
    found = _json(capsys, "verify", "--from", waiting, *asked)
    assert found["figures"] == plain["figures"]
    told = {entry["flag"]: entry["changes"] for entry in found["command"]["ignored"]}
    assert all(told[flag.split()[0].rstrip(":")] == "time" for flag in flags)


def test_explain_keeps_the_degrees_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    command = "vllm serve deepseek-ai/DeepSeek-V3 -tp 8"
    found = _json(capsys, "explain", "--from", command, "--hardware", "h100-sxm-8", status=1)
    assert "memory" in {item["limit"] for item in found["conflict"]}


def test_solve_lists_the_flags_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "solve", "--from", SERVED, "--hardware", "h100-sxm-8")
    assert found["status"] == "optimal"
    assert "--tensor-parallel-size" in {item["flag"] for item in found["flags"]}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("verify", "--from", SERVED), "--hardware"),
        (("verify", "--from", SERVED.replace("-tp", "-tpp"), "--hardware", "h100-sxm-8"), "-tpp"),
        (("verify", "--from", "vllm serve nobody/knows -tp 2", "--hardware", "h100-sxm-8"), "model"),
        (("verify", "x.yaml", "--from", SERVED), "--from"),
        (("verify", "x.yaml", "--hardware", "h100-sxm-8"), "--hardware"),
        (("verify",), "LAYOUT"),
        (("solve", "x.yaml", "--from", SERVED), "--from"),
    ],
)
def test_wrong_questions(arguments: tuple[str, ...], field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _json(capsys, *arguments, status=2)["errors"][0]["field"] == field


def test_training_command_is_read_and_its_figures_are_not_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    command = "torchrun --nproc-per-node 8 pretrain_gpt.py --tensor-model-parallel-size 2"
    asked = ("--from", command, "--hardware", "h100-sxm-8", "--model", "llama-3.1-8b")
    found = _json(capsys, "verify", *asked)
    assert (found["layout"]["tp"], found["layout"]["dp"], found["figures"]) == (2, 4, {})
    assert found["not_checked"]
    assert _json(capsys, "solve", *asked, status=2)["errors"][0]["field"] == "--from"


def test_export_writes_a_launch_that_verify_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, folder = tmp_path / "r.json", tmp_path / "out"
    asked = ("--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "2", "--isl", "512", "--osl", "128")
    solved = _json(capsys, "solve", *asked, "--engine", "vllm", "--out", str(result))
    told = _json(
        capsys, "export", str(result), "--engine", "vllm", "--out", str(folder), "--model", "meta-llama/Llama-3.1-8B"
    )
    assert {path.name for path in folder.iterdir()} == {"launch.sh", "map.json", "kubernetes.yaml", "differences.md"}
    assert set(told["files"]) == {path.name for path in folder.iterdir()}
    found = _json(capsys, "verify", "--from", str(folder / "launch.sh"), *asked[2:4], *asked[6:])
    names = ("tp", "dp", "pp", "batch", "prefill_chunk")
    assert [found["layout"][name] for name in names] == [solved["layout"][name] for name in names]


def test_export_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "r.json"
    result.write_text('{"schema": "shardproof/result/1", "status": "infeasible", "layout": null}')
    errors = _json(capsys, "export", str(result), "--engine", "vllm", status=2)["errors"]
    assert "infeasible" in errors[0]["message"]


GEMMA = "vllm serve google/gemma-3-27b-it --max-model-len 131072 --max-num-batched-tokens 8192 --max-num-seqs 16"
WHOLE = "--disable-hybrid-kv-cache-manager"


@pytest.mark.parametrize(
    ("engine", "hardware", "flag", "fits", "told"),
    [
        ("vllm@0.12", "h200-sxm-8", "", "yes", ""),
        ("vllm@0.12", "h100-sxm-8", WHOLE, "may not fit", "starts, since it counts windows and chunks alone"),
        ("vllm@0.19", "h100-sxm-8", WHOLE, "no", "62.00 GiB KV cache is needed"),
        ("vllm@0.19", "h200-sxm-8", WHOLE, "yes", ""),
    ],
)
def test_windows_that_are_held_whole_need_room_for_every_token(
    engine: str, hardware: str, flag: str, fits: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """62 layers of 8,192 bytes a token: 62 GiB of 131,072, which vLLM before 0.14 does not check."""
    command = (f"{GEMMA} {flag} --limit-mm-per-prompt.image 0 --limit-mm-per-prompt.video 0").replace("  ", " ")
    asked = ("--from", command, "--hardware", hardware, "--engine", engine)
    found = _json(capsys, "verify", *asked, status=1 if fits == "no" else 0)
    assert found["fits"] == fits, found["doubts"]
    assert told in " ".join((*found["doubts"], *(str(one) for one in found["violations"])))
    assert not any(one["flag"] == WHOLE for one in found["command"]["ignored"])


@pytest.mark.parametrize(
    ("work", "launch", "said"),
    [
        ("8000 100 128", "vllm serve Qwen/Qwen3-32B -tp 4", "104 sequences of all ranks at once"),
        ("500 100 64", "vllm serve Qwen/Qwen3-8B -dp 2 --max-num-seqs 16", "32 sequences of all ranks at once"),
        ("8000 100 500", "trtllm-serve Qwen/Qwen3-32B --tp_size 2", "40 sequences of all ranks at once"),
        ("32000 100 32", "vllm serve openai/gpt-oss-20b", "batch=32 finishes requests faster than chunks"),
        ("32000 100 100", "vllm serve openai/gpt-oss-20b", "75 sequences of all ranks at once"),
        ("8000 100 5", "vllm serve meta-llama/Llama-3.3-70B-Instruct", "1 sequences of all ranks at once"),
    ],
)
def test_a_loop_of_more_than_fits_is_told_how_many_fit(
    capsys: pytest.CaptureFixture[str], work: str, launch: str, said: str
) -> None:
    prompt, answer, in_flight = work.split()
    asked = ["--hardware", "h100-sxm-8", "--isl", prompt, "--osl", answer, "--arrival", "closed"]
    assert run(["verify", *asked, "--concurrency", in_flight, "--from", launch]) == 1
    assert f"(batch) {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("engine", "flags", "fits"),
    [
        ("vllm@0.19", "", "yes"),
        ("vllm@0.20", "", "no"),
        ("vllm", "", "no"),
        ("vllm", "--max-num-seqs 1000", "no"),
        ("vllm", "--max-num-seqs 128", "yes"),
        ("vllm", "--enforce-eager", "yes"),
        ("vllm", "--mamba-ssm-cache-dtype float16", "may not fit"),
        ("vllm", "-O.cudagraph_mode=PIECEWISE", "yes"),
        ("vllm", "-O.cudagraph_mode=FULL_DECODE_ONLY", "no"),
        ("vllm", "--speculative-config.method mtp --speculative-config.num_speculative_tokens 1", "may not fit"),
    ],
)
def test_every_sequence_in_flight_has_a_block_for_its_state(
    engine: str, flags: str, fits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """1,024 sequences unless told, where 39 GiB are 821 blocks."""
    command = f"vllm serve Qwen/Qwen3.6-27B-FP8 --max-model-len 8192 {flags}"
    asked = ("--from", command, "--hardware", "h100-sxm-8", "--engine", engine)
    found = _json(capsys, "verify", *asked, status=1 if fits == "no" else 0)
    assert found["fits"] == fits, found["doubts"]
    told = " ".join((*found["doubts"], *(str(one) for one in found["violations"])))
    assert ("exceeds available Mamba cache blocks" in told) is (fits != "yes")


@pytest.mark.parametrize(
    ("engine", "flags", "fits"),
    [
        ("vllm@0.18", "--enable-prefix-caching", "no"),
        ("vllm@0.26", "--enable-prefix-caching", "no"),
        ("vllm@0.27", "--enable-prefix-caching", "yes"),
        ("vllm@0.26", "", "yes"),
        ("vllm", "", "yes"),
        ("vllm@0.26", "--enable-prefix-caching --max-num-batched-tokens 4096", "yes"),
        ("vllm@0.26", "--enable-prefix-caching --no-enable-prefix-caching", "yes"),
    ],
)
def test_a_step_takes_a_block_of_a_prefix(
    engine: str, flags: str, fits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """2,096 tokens on two ranks, of which an A100's default step takes 2,048 (vllm pull request 36734)."""
    command = f"vllm serve Qwen/Qwen3.5-122B-A10B-GPTQ-Int4 -tp 2 --max-model-len 131072 --max-num-seqs 16 {flags}"
    asked = ("--from", command, "--hardware", "a100-sxm-8", "--engine", engine)
    found = _json(capsys, "verify", *asked, status=1 if fits == "no" else 0)
    assert found["fits"] == fits, found["doubts"]
    assert ("block_size (2096) must be <= max_num_batched_tokens (2048)" in str(found["violations"])) is (fits == "no")


@pytest.mark.parametrize(
    ("engine", "flags", "fits"),
    [
        ("sglang", "0.38", "no"),
        ("sglang@0.5.15", "0.37", "no"),
        ("sglang@0.5.10", "0.38", "may not fit"),
        ("sglang", "0.38 --max-mamba-cache-size 5", "may not fit"),
        ("sglang", "0.38 --disable-radix-cache --max-running-requests 2", "may not fit"),
        ("sglang", "0.85", "yes"),
    ],
)
def test_states_have_room_for_a_request(engine: str, flags: str, fits: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 1.7 GiB beside the weights 0.8 are for states of 0.144, of which a request wants five and one is spare."""
    command = f"python3 -m sglang.launch_server --model-path Qwen/Qwen3.6-27B-FP8 --mem-fraction-static {flags}"
    asked = ("--from", command, "--hardware", "h100-sxm-8", "--engine", engine)
    found = _json(capsys, "verify", *asked, status=1 if fits == "no" else 0)
    assert found["fits"] == fits, found["doubts"]
    assert ("too small to serve any requests" in str(found["violations"])) is (fits == "no")


@pytest.mark.parametrize(("engine", "status"), [("trtllm", 2), ("sglang@0.5.9", 2), ("vllm@0.22", 0), ("any", 0)])
def test_a_command_is_verified_by_its_own_engine(engine: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    command = "vllm serve Qwen/Qwen3-0.6B --max-num-seqs 8"
    found = _json(capsys, "verify", "--from", command, "--hardware", "h100-sxm-8", "--engine", engine, status=status)
    if status:
        assert "a command of vllm is no launch of" in found["errors"][0]["message"]
