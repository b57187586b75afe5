"""Launch commands in the code blocks of a document, and the logs that follow them."""

from __future__ import annotations

import pytest

from optimizer.audit import audit_document

SERVED = "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --gpu-memory-utilization 0.9 --max-model-len 16000"
ON_TWO = "# Qwen3-32B\n\nIt is served on 2x H100.\n\n"


def _block(*lines: str) -> str:
    return "\n".join(("```bash", *lines, "```", ""))


def _claims(text: str) -> dict[tuple[str, int], tuple[str, str]]:
    found = audit_document(text, "x.md").to_json()["claims"]
    return {(one["name"], one["line"]): (one["verdict"], one["explanation"]) for one in found}


def _launch(text: str) -> tuple[str, str]:
    return next(found for (name, _), found in _claims(text).items() if name == "launch")


@pytest.mark.parametrize(
    ("before", "command", "verdict", "says"),
    [
        (ON_TWO, SERVED, "holds", "starts on 2 of h100-sxm-8"),
        (ON_TWO, SERVED.replace("-size 2", "-size 3"), "fails", "attention heads (64) must be divisible"),
        (ON_TWO, SERVED.replace("-size 2", "-size 4"), "fails", "it starts 4 ranks, and 2 devices are spoken of"),
        ("On 8xH100:\n\n", "vllm serve deepseek-ai/DeepSeek-V3 -tp 8", "fails", "needs 93.6"),
        ("On 8xH100 this fails with out of memory:\n\n", "vllm serve deepseek-ai/DeepSeek-V3 -tp 8", "unsupported",
         "as the text says"),
        ("On one H100:\n\n", "python -m sglang.launch_server --model-path Qwen/Qwen3-8B", "holds", "starts on 1"),
        ("On one H100:\n\n", "trtllm-serve Qwen/Qwen3-8B --tp_size 1", "holds", "starts on 1"),
        ("", SERVED, "unsupported", "names no device"),
        (ON_TWO, SERVED.replace("--tensor-p", "--tensro-p"), "unsupported", "has no such flag"),
        (ON_TWO, "vllm serve nobody/knows-it -tp 2", "unsupported", "is no model of the catalog"),
    ],
)  # fmt: skip
def test_a_command_is_judged_on_the_devices_that_are_named(before: str, command: str, verdict: str, says: str) -> None:
    found, said = _launch(before + _block(command))
    assert found == verdict
    assert says in said


MANIFEST = "```yaml\nmodel: openai/gpt-oss-120b\nargs:\n  - --tensor-parallel-size={}\n  - --max-model-len={}\n```\n"
SHOWN = "CUDA_VISIBLE_DEVICES={} vllm serve Qwen/Qwen3-32B --tensor-parallel-size {} --port 8001"


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        (ON_TWO + _block(SHOWN), ("2,3", 4), ("2,3", 2)),
        ("# Qwen3-32B\n\nTwo copies share a server.\n\n" + _block("# copy 1", SHOWN), ("4,5,6", 4), ("4,5,6,7", 4)),
        ("# gpt-oss-120b\n\nThe values:\n\n" + MANIFEST, (2, 262144), (2, 131072)),
        ("# gpt-oss-120b\n\nThe values:\n\n" + MANIFEST, (6, 131072), (4, 131072)),
        ("Qwen3-32B on L40S or on RTX 4090.\n\n" + _block("vllm serve Qwen/Qwen3-32B -tp {}"), (3,), (2,)),
        (ON_TWO + _block("# on the box with 4 GPUs", SERVED.replace("2 ", "4 ", 1) + " -dp {}"), (2,), (1,)),
        ("Mixtral on one H100:\n\n" + _block("vllm serve mistralai/Mixtral-8x7B-Instruct-v0.1 --quantization fp8 "
         "--max-model-len {}"), (65536,), (32768,)),
        ("On two nodes of 8xH100:\n\n" + _block("vllm serve meta-llama/Llama-3.1-405B -tp 8 -pp {}"), (4,), (2,)),
    ],
)  # fmt: skip
def test_a_command_that_its_engine_refuses_is_told(
    text: str, wrong: tuple[object, ...], right: tuple[object, ...]
) -> None:
    assert _launch(text.format(*wrong))[0] == "fails"
    assert _launch(text.format(*right))[0] in {"holds", "unsupported"}


@pytest.mark.parametrize(
    "text",
    [
        "Today 15 nodes of 8xH100, later TP4 replicas, each replica on 4 of a node's cards.\n\n"
        + _block("vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2"),
        "# Sizes\n\nGLM-4.5 runs with TP8 on 8xH200.\n\n## Qwen3\n\n" + _block("vllm serve Qwen/Qwen3-32B -tp 1"),
        "# TP6 does not start\n\nSix H100 are left.\n\n" + _block("vllm serve Qwen/Qwen3-32B -tp 6"),
        "On 8xH100:\n\n" + _block("vllm serve Qwen/Qwen3-32B -tp 6") + "\n`64 heads must be divisible by 6`\n",
        "Four replicas of 2xH100 each.\n\n" + _block("vllm serve Qwen/Qwen3-32B -tp 2 -dp 4"),
        "On four hosts, 8xH100 in one.\n\n" + _block("vllm serve meta-llama/Llama-3.1-405B -tp 8 -pp 4"),
    ],
)
def test_a_command_that_may_run_is_not(text: str) -> None:
    assert _launch(text)[0] != "fails"


COMMAND = "\n```bash\npython -m sglang.launch_server --model-path Qwen/Qwen3-32B {}\n```\n"


def _told(text: str) -> list[str]:
    return [one.name for one in audit_document(text, "x.md").contradictions]


@pytest.mark.parametrize(
    ("text", "flag", "value", "name"),
    [
        ("Final state: max-running-requests {} on every rank.", "--max-running-requests", "48", "max_running_requests"),
        ("The mem fraction is {}.", "--mem-fraction-static", "0.85", "mem_fraction_static"),
        ("- Static pool: {} x 141 = 119.9 GB", "--mem-fraction-static", "0.85", "mem_fraction_static"),
        ("The limit of {} sequences was never reached.", "--max-num-seqs", "96", "max_num_seqs"),
        ("We run production with `--max-num-seqs {}`, never reached.", "--max-num-seqs", "96", "max_num_seqs"),
        ("Alarm: running stays at {}, the `max-num-seqs` limit.", "--max-num-seqs", "96", "max_num_seqs"),
        ("The engine was allowed {} concurrent sequences.\n\nFull: 64 x 9,000 tokens.", "--max-num-seqs", "96",
         "max_num_seqs"),
        ("On 3 March `--max-num-seqs` was raised from 8 to {}.", "--max-num-seqs", "96", "max_num_seqs"),
        ("It must fit in {} tokens, and that is the limit we set on the server.", "--context-length", "24,576",
         "context_length"),
        ("The engine refuses prompts longer than {} tokens.", "--context-length", "24,576", "context_length"),
        ("They ask for a context window of {} tokens.", "--context-length", "32,768", "context_length"),
        ("| Item | Value |\n|---|---|\n| Chunked prefill size | {} |", "--chunked-prefill-size", "4,096",
         "chunked_prefill_size"),
    ],
)  # fmt: skip
def test_a_setting_that_the_text_gives_otherwise_is_told(text: str, flag: str, value: str, name: str) -> None:
    plain = value.replace(",", "")
    other = "0.7" if "." in value else str(2 * int(plain) // 3)
    assert _told(text.format(value) + "\n" + COMMAND.format(f"{flag} {other}")) == [name]
    assert not _told(text.format(value) + "\n" + COMMAND.format(f"{flag} {plain}"))


@pytest.mark.parametrize(
    "text",
    [
        "VPP 5 gives 4 layers per virtual chunk.",
        "With four stages and 128 micro-batches the bubble is 2.3 percent.",
        "| Key | Value |\n|---|---|\n| Max context | 40,960 |",
        "The long variant has max-running-requests 8.",
        "At 50 % utilisation of the mem fraction it is 1.26 s.",
        "Before the incident max-running-requests was 96.",
        "Just set `--max-running-requests 96`.",
        "Calls beyond go to a replica started with `--max-running-requests 96`.",
        "The staging pool runs with `--max-running-requests 96`.",
        "If that fails we run it with `--max-running-requests 96`.",
        "At a limit of 96 requests latency was better.",
        "Fix: max-running-requests 96.",
        "We measured 0.7 of the peak at a mem fraction below 0.8.",
        "The gateway is limited to 96 concurrent requests.",
        "The cache allows 96 concurrent sequences of 6,000 tokens.",
        "Each tenant is capped at 32 concurrent requests.",
        "The longest answer is 4,096 tokens, the limit that the server enforces.",
        "The mean prompt has 2,400 tokens, far from the limit of the server.",
        "`--max-running-requests` was raised from 32 to 64.",
        "# Two\n\nQwen3-32B and Llama-3.3-70B.\n\n## Llama\n\nThe mem fraction is 0.95.\n\n## Qwen",
        "# Plan\n\n## Rejected\n\nThe mem fraction is 0.95.",
    ],
)
def test_a_number_of_something_else_is_no_setting(text: str) -> None:
    flags = (
        "--max-running-requests 64 --mem-fraction-static 0.9 --context-length 9000 --num-layers 9 --micro-batch-size 1"
    )
    assert not _told(f"{text}\n" + COMMAND.format(flags))


def test_a_fault_is_located_in_the_document() -> None:
    _, said = _launch(ON_TWO + _block("# first", "vllm serve Qwen/Qwen3-32B \\", "  --tensro-parallel-size 2"))
    assert said.startswith("line 8, column 3: --tensro-parallel-size")


@pytest.mark.parametrize(("before", "wrong"), [("The service", True), ("The attempt on MI300X", False)])
def test_what_is_said_of_another_device_is_not_the_commands(before: str, wrong: bool) -> None:  # noqa: FBT001
    log = _block("INFO Available KV cache memory: 54.49 GiB", "INFO GPU KV cache size: 446,368 tokens")
    text = f"{ON_TWO}{_block(SERVED)}\n{before} has a memory utilization of 0.8:\n\n{log}"
    found = {name: verdict for (name, _), (verdict, _) in _claims(text).items()}
    assert (found["kv_cache_room_bytes"] == "fails") == wrong
    assert ("gpu_memory_utilization" in _told(text)) == wrong


@pytest.mark.parametrize(("room", "tokens", "verdict"), [("34.49", 282_480, "holds"), ("54.49", 446_368, "fails")])
def test_a_log_is_judged_against_the_command_before_it(room: str, tokens: int, verdict: str) -> None:
    """34.49 GiB were logged for this layout (llm-d-planner); 20 more are not there, though tokens agree with them."""
    log = (f"INFO Available KV cache memory: {room} GiB", f"INFO GPU KV cache size: {tokens:,} tokens")
    claims = _claims(ON_TWO + _block(SERVED) + "\n" + _block(*log))
    assert claims["kv_cache_room_bytes", 10][0] == verdict
    assert claims["kv_cache_tokens", 11][0] == verdict
    # without the command nothing says what share of memory the engine may use
    alone = _claims(ON_TWO + "With TP=2:\n\n" + _block(*log))
    assert alone["kv_cache_room_bytes", 8][0] == "unsupported"
    assert alone["kv_cache_tokens", 9][0] == "holds"


@pytest.mark.parametrize(("usage", "verdict"), [("27.90", "holds"), ("55.12", "fails")])
def test_the_dtype_of_a_log_is_not_that_of_quantised_weights(usage: str, verdict: str) -> None:
    """235.1 GB in 8 bits over 8 ranks are 27.5 GiB; SGLang names the activations' format beside them."""
    command = "python -m sglang.launch_server --model-path Qwen/Qwen3-235B-A22B-FP8 --tp 8 --ep 8"
    log = f"[TP0] Load weight end. type=X, dtype=torch.bfloat16, avail mem=110.10 GB, mem usage={usage} GB."
    claims = _claims("On 8xH200:\n\n" + _block(command, log))
    assert next(found for (name, _), (found, *_) in claims.items() if name == "weights") == verdict


@pytest.mark.parametrize(("loaded", "verdict"), [("30.59", "holds"), ("61.03", "fails")])
def test_no_rank_of_several_holds_the_whole_model(loaded: str, verdict: str) -> None:
    """32.76e9 parameters in 16 bits are 61.02 GiB."""
    claims = _claims(ON_TWO + _block(SERVED) + "\n" + _block(f"INFO Model loading took {loaded} GiB and 12.3 seconds"))
    assert next(found for (name, _), (found, *_) in claims.items() if name == "weights") == verdict


@pytest.mark.parametrize(
    ("model", "pool", "tokens", "most", "verdicts"),
    [
        ("Qwen3-235B-A22B-FP8 with TP4 on 4xH100", "K size: 8.23 GB, V size: 8.23 GB", 367404, 367404, "holds holds"),
        ("Qwen3-235B-A22B-FP8 with TP4 on 4xH100", "K size: 8.23 GB, V size: 8.23 GB", 467404, 467404, "fails holds"),
        ("Qwen3-235B-A22B-FP8 with TP4 on 4xH100", "K size: 8.23 GB, V size: 8.23 GB", 367404, 267404, "holds fails"),
        ("DeepSeek-R1 with TP8 on 8xH200", "KV size: 39.55 GB", 604000, 604000, "holds holds"),
        ("DeepSeek-R1 with TP8 on 8xH200", "KV size: 19.55 GB", 604000, 604000, "holds holds"),
        ("DeepSeek-R1 with TP8 on 8xH200", "KV size: 9.55 GB", 604000, 604000, "fails holds"),
    ],
)
def test_the_pool_of_sglang_is_judged_by_its_own_bytes(
    model: str, pool: str, tokens: int, most: int, verdicts: str
) -> None:
    """GiB of keys and values over bytes of a token (vllm issue 21348: 367,404 in 16.46), of 16 bits or 8."""
    log = (f"[TP0] KV Cache is allocated. #tokens: {tokens}, {pool}", f"[TP0] max_total_num_tokens={most}, chunk=8192")
    found = _claims(f"# SGLang serves {model}\n\n{_block(*log)}")
    assert [verdict for (name, _), (verdict, _) in found.items() if name == "kv_cache_tokens"] == verdicts.split()


@pytest.mark.parametrize(("redundant", "wrong"), [(64, True), (32, False)])
def test_a_command_is_accused_at_the_flag_that_the_text_does_not_give(redundant: int, wrong: bool) -> None:  # noqa: FBT001
    text = f"""# DeepSeek-V3 on 6 nodes of 8 H200

Decode: EP 48 with 32 redundant experts, 288 slots.

```
python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 \\
    --tp-size 48 --dp-size 48 --enable-dp-attention --nnodes 6 \\
    --ep-size 48 --moe-a2a-backend deepep \\
    --ep-num-redundant-experts {redundant} --mem-fraction-static 0.85
```
"""
    launches = [one for one in audit_document(text, "x.md").claims if one.statement.name == "launch"]
    assert [(one.verdict.wrong, one.statement.place.line) for one in launches] == [(wrong, 9 if wrong else 6)]
