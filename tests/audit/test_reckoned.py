"""Figures of a service that fix one another: each pair of documents differs in one figure, wrong in the first."""

import pytest

from optimizer.audit import audit_document

_POOLS = "| Pool | Nodes | GPUs |\n|---|---|---|\n| Prefill | 3 | 24 |\n| Decode | 6 | 48 |\n| Total | 9 | {} |"
_SPENDING = (
    "| Region | GPUs | $/h |\n|---|---|---|\n| EU | 16 | 40 |\n| US | 32 | 80 |\n| APAC | 8 | 20 |\n| Total | 56 | {} |"
)


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("We rent it at $32.00 per hour. It makes 4,000 tokens/s, so a million tokens cost us {}.", "$1.10", "$2.22"),
        ("The node costs $32.00/h and sustains 4,000 tokens/s. Cost: {} per million tokens.", "$1.10", "$2.22"),
        ("At 98.32 USD/hour and 12k tok/s we pay {} USD per 1M tokens.", "0.23", "2.28"),
        ("A GPU costs $2.00 per hour; eight of them make 24,000 tokens/s, which is {}/M tokens.", "$0.05", "$0.185"),
        ("Peak is 25 requests/s with 400 output tokens per request, so we need {} tokens/s.", "12,000", "10,000"),
        ("We expect 25 RPS at 400 output tokens each, i.e. {} output tokens/s.", "8,000", "10,000"),
        (_POOLS, "80", "72"),
        (_SPENDING, "170", "140"),
        ("Decode rose from 1,800 to 2,400 tokens/s, an improvement of {}%.", "60", "33"),
        ("Output went from 1,150 to 2,070 tokens/s, i.e. the new version is {}x faster.", "3", "1.8"),
        ("The upgrade made decode {}x faster, from 40 ms to 25 ms per token.", "2.5", "1.6"),
        ("For the launch peak of 12 x 450 = {} tokens/s we need two replicas.", "8,400", "5,400"),
        ("We doubled throughput: from 900 to {} tokens/s.", "1,200", "1,800"),
        ("Costs were cut in half, from $1.20 to {} per million tokens.", "$0.90", "$0.60"),
        ("We serve 8.6 million requests a day, which is about {} requests per second on average.", "250", "100"),
        ("A 32,768-token prompt at 10,000 prompt tokens/s takes {} s.", "1.3", "3.3"),
        ("At a TPOT of 25 ms a user sees {} tokens per second.", "80", "40"),
        ("With 64 concurrent sequences and 20 ms per token the replica makes {} tokens/s.", "6,400", "3,200"),
        ("Generating 500 tokens at 30 ms each takes {} s.", "25", "15"),
        ("24 GPUs at $2.50 per hour cost {} an hour.", "$75", "$60"),
        ("$60 an hour is about {} per month.", "$34k", "$43.8k"),
        ("22 B out of 235 B, about {} %.\n", "4", "9"),
        ("Each replica handles 40 requests/s, so for 300 requests/s we need {} replicas.", "6", "8"),
        ("Three replicas of 8 GPUs each, {} GPUs in total.", "32", "24"),
        ("The weights are 141 GB; over eight GPUs that is about {} GB each.", "35.2", "17.6"),
        ("The cache of 40 GB at 160 KB per token holds {} tokens.", "2.5 million", "250,000"),
        ("There is room for about 1.62M tokens. That is enough for {} sequences at the full 131,072-token window.",
         "128", "12"),
        ("Throughput per GPU is 1,200 tokens/s; on 16 GPUs that makes {} tokens/s.", "24,000", "19,200"),
        ("The 10 Gbit/s link moves the 140 GB checkpoint in {} seconds.", "14", "112"),
        ("A checkpoint of 140 GB at 2 GB/s loads in {} s.", "140", "70"),
        ("The nodes share a 400 Gb/s InfiniBand link, that is {} GB/s.", "400", "50"),
        ("A token takes 98,304 bytes, which is about {}.", "98 MB", "98 KB"),
        ("The server needs 0.9 J per token. A million tokens are then {}.", "2.5 kWh", "0.25 kWh"),
        (("| | Old | New |\n|---|---|---|\n| J per output token | 0.18 | 0.45 |\n"
         "| kWh per million output tokens | 0.05 | {} |"),
         "1.25", "0.125"),
        ("| Item | Value |\n|---|---|\n| Price | $0.11 per kWh |\n| Energy | 1.60 GWh |\n| Bill | {} |",
         "$1.76 million", "$176,000"),
        ("We save 3.2 kW, that is some {} over a year if it ran flat out.", "280 MWh", "28 MWh"),
        ("Rate: $1.50 per card-hour.\n\n" + "We looked at it twice. " * 9
         + "One card makes 2.5M tokens an hour, which comes to {} per million tokens.", "$0.06", "$0.60"),
    ],
)  # fmt: skip
def test_wrong_figure_is_accused_and_the_right_one_is_not(text: str, wrong: str, right: str) -> None:
    assert audit_document(text.format(wrong), "plan.md").exit_status == 1
    assert audit_document(text.format(right), "plan.md").exit_status == 0


@pytest.mark.parametrize(
    "text",
    [
        "$12 per hour at 10,000 tokens/s and 60% utilisation is $0.56 per million tokens.",
        "Ours: $10.00 per hour, 2,500 tokens/s. The vendor charges $0.90 per million tokens.",
        "Peak is 25 requests/s of 400 output tokens per request; a replica handles 3,000 tokens/s, so we need 4.",
        "Each server has eight 400G ports. A port moves 50 GB/s; the node 400 GB/s in total.",
        "We went from 2 to 4 GPUs, and decode became 3x faster.",
        "Utilisation rises from 40% to 60%, an increase of 20%.",
        "half of 12 x 4 = 24",
        "- a token takes 576 × 61 × 2 B = 70,272 B on every rank, hence 1.12M tokens",
        "The 8 GPUs with 80 GB each hold 70 GB of weights.",
        "With 64 sequences and 20 ms per token each of the 8 replicas is busy; together they make 25,600 tokens/s.",
        "At a TPOT of 25 ms the node makes 20,000 tokens/s.",
        "A checkpoint of 140 GB at 2 GB/s would load in 30 s with compression.",
        "Each replica handles 40 requests/s, so for 300 requests/s we need 10 replicas.",
        "Idling takes 9 kW for 10 hours, 90 kWh. Together 500 kWh a day at the servers, 650 kWh at the meter.",
        "810 GB in all. The target reads 50 GB at 4.8 TB/s, 10.5 ms. Seen in staging: 17 ms.",
        "It makes 3,000 tok/s at $2.10 per hour. The API charges $0.60 per million output tokens.",
        "We measured 0.31 J per token. A million tokens are 0.086 kWh, and 0.11 kWh with the PUE of 1.3.",
        "Prefill makes 8,800 tokens/s per node (45% of 8 x 1,979 TFLOPS, 810 GFLOP per token).",
        "The copies are on every GPU, so the 16 GPUs hold 106 GB although the model is only 61 GB.",
        "| Cap | W per GPU | tok/s | J per token |\n|---|---|---|---|\n| 400 W | 397 | 5,830 | 0.272 |",
        "The sweep went from 3.8 J/token to 0.37 (1,800 → 2,500 W; 470 → 6,800 tok/s).",
        "The rack has 4 servers of 8 GPUs; at 700 W each that is 22.4 kW for the cards, 31 kW with hosts and fans.",
        "40% of the requests are 8k, 60% are 2k tokens: 4.4k on average, at 30 req/s 132k tok/s.",
        "16 hours at 5.6 kW plus 8 at 1.2 kW = 99.2 kWh.",
        "Idle draw is 2.1 kW. Over a month the cluster used 31 MWh in all, cooling included.",
        "TDP 750 W, so 6.0 kW for the GPUs.",
        "| Time | What |\n|---|---|\n| 07:50-08:40 | 235 GB fetched again at 110 MB/s, abandoned after 50 minutes |",
        "| Phase | GPUs | tok/s per GPU |\n|---|---|---|\n| P | 3 | 900 |\n| D | 6 | 300 |\n| Total | 9 | 500 |",
    ],
)
def test_what_may_be_meant_otherwise_is_not_accused(text: str) -> None:
    assert audit_document(text, "plan.md").exit_status == 0
