"""Which figure a number is, from its unit and the words around it. Only what is sure gets a name."""

import re
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.context import label_role
from optimizer.audit.statements import AXES, Context
from optimizer.audit.tokens import Number
from optimizer.domain.limits import PERCENTILES

_DEVICE: Final = re.compile(r"^(?:gpus?|devices?|accelerators?|chips?|npus?|tpus?|cards?|ranks?)$")
_PER_DEVICE: Final = re.compile(
    r"(?:per|/|each|every|one|single)[\s-]*(?:gpu|device|accelerator|chip|npu|tpu|card|rank)s?\b(?!-h)|\bgpu'?s? each\b"
    r"|\b(?:each|every) (?:h100|h200|h800|a100|b200|gb200|l40s|v100|mi3\d\dx)\b"
)
_KEPT: Final = re.compile(
    r"\b(?:sustain\w*|achiev\w*|effective|measured|observed|reach(?:es|ed)?|attain\w*|deliver(?:s|ed)"
    r"|profiler (?:shows|reports)|hit(?:s|ting)?|runs at|running at)\b"
)
_SOLD: Final = re.compile(
    r"\b(?:peak|theoretical|spec\w*|rated|nominal|datasheet|up to|l2|sram|shared memory|sparse|if|would|could|never"
    r"|cannot)\b"
)
_TOTAL: Final = re.compile(
    r"\b(?:total|overall|aggregate|cluster|system(?:-wide)?|across all|all \d+|combined|whole)\b"
)
_EXPERT: Final = re.compile(r"\bexperts?\b(?!\s+parallel)")
_RATIO: Final = re.compile(
    r"^\W*(?:less|lower|more|higher|fewer|reduction|increase|decrease|faster|slower|smaller|larger|better"
    r"|worse|improvement|balanced)\b"
)
_CAPACITY: Final = re.compile(
    r"\b(?:vram|capacity|hbm(?:\d\w*)?|available memory|memory limit|memory size|gpu memory|device memory"
    r"|memory available)\b"
)

_EXPERT_MEMORY: Final = re.compile(r"\bexpert param\w* memory|\bexpert (?:memory|weights)")
_UTILIZATION: Final = (
    ("link_utilization", re.compile(r"\b(?:nvlink|network|infiniband|interconnect|fabric|links?|ethernet|rdma|pcie"
                                    r"|inter-node|intra-node)\b.{0,24}\b(?:bandwidth|utili[sz]ation)")),
    ("hbm_bandwidth_utilization", re.compile(r"\bbandwidth\b")),
    ("memory_utilization", re.compile(r"\b(?:memory|vram|hbm)\b")),
    ("compute_utilization", re.compile(r"\b(?:compute|flops?|tensor core|gpu|mfu)\b")),
)  # fmt: skip
_BYTES: Final = (
    ("kv_cache", re.compile(r"\bkv\b")),
    ("activations", re.compile(r"\bactivations?\b")),
    ("expert_weights", re.compile(r"\bexperts?\b(?!\s+per\b).{0,30}\b(?:memory|param\w*|weights?|storage"
                                  r"|size)|\b(?:memory|param\w*|weights?)\b.{0,12}\b(?:of"
                                  r"|for)\s+(?:the\s+)?experts?\b|\bfor experts?\b")),
    ("attention_weights", re.compile(r"\battention\b.{0,20}\b(?:memory|param\w*|weights?)")),
    ("weights", re.compile(r"\b(?:weights?|model size|parameter memory|model memory)\b")),
)  # fmt: skip
_OTHER_BYTES: Final = re.compile(
    r"\b(?:replicated|sharded|shared|unsharded) (?:weights?|param\w*)|\bmemory head-?room|\bhead-?room\W*$"
)
"""Parts that are no weights and no memory of a device as such."""
_LEAST_MEMORY: Final = 10**9
"""Less is no device's memory."""
_MOST_DEVICES: Final = 10**7
_PER_LAYER: Final = re.compile(
    r"^\s*(?:(?:in |for |of )?(?:per|each|every)\s+(?:of\s+(?:the\s+|its\s+)?)?(?:\d+\s+)?|and\s+)"
    r"(?:moe\s+)?layers?\b"
)
_PART_OF: Final = re.compile(r"^\W*(?:out )?of\s+(?:the\s+)?[~≈]?\d")
_OF_MEMORY: Final = re.compile(
    r"kv|activation|expert|attention|weight|model|param|memory|usage|used|footprint|vram|hbm|utili[sz]|capacity"
    r"|available|gpu|device|accelerator|card|h100|a100|h200|b200|mi300"
)
"""Without one of these, near it or above it, no number of bytes has a name."""
_OF_SHARES: Final = re.compile(r"mfu|flop|headroom|available|utili[sz]|usage|used")
_TOGETHER: Final = (
    re.compile(r"\bweights?\b|\bparameters?\b"), re.compile(r"\b(?:kv|cache)\b"), re.compile(r"\bactivations?\b"),
)  # fmt: skip
"""Parts of the memory; a figure for two of them is one for the whole."""


def classify(number: Number, context: Context) -> str | None:
    """Name of the fact or claim, or None. ``_total`` and ``_per_device`` endings give the scope where it matters."""
    unit = number.unit
    if unit.dimensions == lexicon.BYTES:
        return _bytes(number, context)
    if unit.dimensions == lexicon.BANDWIDTH:
        return _bandwidth(number, context)
    if unit.dimensions == lexicon.PER_SECOND:
        return _rate(number, context)
    if unit.dimensions == lexicon.SECONDS:
        return _time(number, context)
    if unit.dimensions == lexicon.FLOPS:
        words = _words(number, context)
        if _achieved(words):
            return "achieved_flops"
        return "peak_flops" if re.search(r"\bpeak|fp16|bf16|fp8|tensor|rated|compute\b", words) else None
    if unit is lexicon.PERCENT:
        return _percent(number, context)
    if unit.dimensions == lexicon.NONE:
        return _count(number, context)
    return None


def _words(number: Number, context: Context) -> str:
    per = "".join(f" per {word}" for word in number.per)
    return f"{context.label} {context.before} {' '.join(number.nouns)}{per} {context.after}"


def _bytes(number: Number, context: Context) -> str | None:
    words = _words(number, context)
    if number.unit.name == "bytes" and number.digits <= 8:
        return "bytes_per_parameter" if number.digits in {1, 2, 4, 8} and not number.per else None
    if "token" in number.per and re.search(r"\bkv\b", words):
        return "kv_cache_per_token"
    if number.unit.name in {"bytes", "KB", "KiB", "bits"} or _OTHER_BYTES.search(
        f"{context.label} {context.before[-32:]}"
    ):
        return None
    if _OF_MEMORY.search(words) is None and _OF_MEMORY.search(context.topic) is None:
        return None
    behind = f"{' '.join(number.nouns)} {context.after}".partition("(")[0]
    per_device = bool(_PER_DEVICE.search(words))
    capacity = (_CAPACITY.search(behind[:24]) and not _PART_OF.match(behind)) or (
        _CAPACITY.search(f"{context.label} {context.before}"[-40:])
        and not re.search(r"\bused|usage|utili[sz]|per[- ]gpu memory|total\b", words)
    )
    if capacity or re.match(r"^\W*(?:gpus?|devices?|accelerators?|cards?|h100|a100|h200|b200|mi300x?)\b", behind):
        return "device_memory" if number.value >= _LEAST_MEMORY else None
    if re.search(
        r"\b(?:disk|ssd|nvme|storage|ram|host|cpu|cache line|message|bucket|page|block|buffer|segment|aligned|swap"
        r"|offload\w*|images?|download\w*|file|transfer|traffic|communicat\w*"
        r"|all-?reduce|all-?to-?all)\b",
        words,
    ):
        return None
    if re.search(
        r"\b(?:per|each|every|one|single) (?:expert|layer|token|sequence|request|stage|node|server|block|head"
        r"|replica)\b",
        words,
    ):
        return None
    together = sum(bool(pattern.search(words)) for pattern in _TOGETHER) > 1
    for name, pattern in () if together else _BYTES:
        if pattern.search(words):
            total = _TOTAL.search(f"{context.label} {context.before} {behind}") and not per_device
            return f"{name}_total" if total else name
    if label_role(context.label) is not None and _EXPERT_MEMORY.search(context.topic):
        return "expert_weights"
    if not re.search(r"\b(?:memory|used|usage|footprint|vram|utili[sz]ation)\b", f"{words} {context.topic}"):
        return None
    quoted = label_role(context.label) is not None and re.search(r"\btotal memory|memory requirement", context.topic)
    if not per_device and (_TOTAL.search(words) or quoted) and not re.search(r"\bper\b", context.label):
        return "memory_total"
    return "memory"


def _achieved(words: str) -> bool:
    """Whether a rate is one that a device was seen to keep, and not what it is sold for."""
    return _KEPT.search(words) is not None and _SOLD.search(words) is None and _PER_DEVICE.search(words) is not None


def _bandwidth(number: Number, context: Context) -> str | None:
    words = _words(number, context)
    if re.search(
        r"\b(?:nvlink|network|infiniband|interconnect|fabric|link|ethernet|rdma|pcie|int(?:er|ra)[- ]node)\b", words
    ):
        return "link_bandwidth"
    if _achieved(words):
        return "achieved_bandwidth"
    return "memory_bandwidth" if re.search(r"\b(?:hbm|memory|vram|bandwidth|dram)\b", words) else None


_REQUESTS: Final = (("requests",), ("request",), ("req",), ("reqs",))


def _rate(number: Number, context: Context) -> str | None:
    if number.nouns[:1] in _REQUESTS and not number.per:
        return "request_capacity"
    if not any(noun in {"token", "tokens", "tok", "toks"} for noun in number.nouns):
        return None
    words = _words(number, context)
    if _PER_DEVICE.search(words) or any(_DEVICE.match(word) for word in number.per):
        return "throughput_per_device"
    if re.search(r"\b(?:user|request|sequence|stream|session)\b", words):
        return None
    return "throughput"


_LATENCIES: Final = (
    ("ttft", re.compile(r"\bttft\b|time[- ]to[- ]first[- ]token|first[- ]token latency")),
    ("tpot", re.compile(r"\btpot\b|\bitl\b|inter-?token|time per output token")),
)
_PERCENTILE: Final = re.compile(r"\bp(\d\d(?:\.\d+)?)\b|\b(\d\d(?:\.\d+)?)(?:th|st|nd|rd)?[- ]percentile|\b(median)\b")


def _of_percentile(name: str, words: str) -> str | None:
    """The claim of a mean, or of the percentile that is named; None for one that is not derived."""
    named = [("50" if percentile[3] else percentile[1] or percentile[2]) for percentile in _PERCENTILE.finditer(words)]
    if not named:
        return name
    return f"{name}_p{named[-1]}" if named[-1] in map(str, PERCENTILES) else None


def _time(number: Number, context: Context) -> str | None:
    topic = context.topic if label_role(context.label) is not None else ""
    for words in (" ".join((*number.nouns, context.after[:24])), f"{context.label} {context.before}", topic):
        for name, pattern in _LATENCIES:
            if pattern.search(words):
                return _of_percentile(name, f"{context.label} {context.before} {words}")
        if re.search(r"\bend[- ]to[- ]end (?:latency|time)|\be2e\b|\brequest latency", words):
            return "latency"
        if re.search(r"\bstep time\b|time per step|iteration time", words):
            return "step_time"
    return None


def _percent(number: Number, context: Context) -> str | None:
    words = _words(number, context)
    if _OF_SHARES.search(words) is None:
        return None
    if _RATIO.match(f"{' '.join(number.nouns)} {context.after}") or re.match(r"^\s*of\b", context.after):
        return None
    if re.search(r"\bmfu\b|model flops? utili[sz]ation", words):
        return "model_flops_utilization"
    if re.search(r"headroom|available", f"{context.label} {context.before}"):
        kind = "compute" if "compute" in words else "memory" if "memory" in words else None
        return f"{kind}_headroom" if kind else None
    if not re.search(r"\butili[sz]ation|\busage|\bused\b|\butili[sz]ed", words):
        return None
    for name, pattern in _UTILIZATION:
        if pattern.search(words):
            return name
    return "memory_utilization" if re.search(r"\b[gmt]i?b\b|memory", f"{words} {context.topic}") else None


_VISITS: Final = re.compile(r"\bvisit(?:s|ed)?\b")


def _count(number: Number, context: Context) -> str | None:
    if number.nouns[:1] == ("nodes",) and _VISITS.search(f"{context.before[-24:]} {' '.join(number.nouns[1:])}"):
        return "nodes_visited" if number.unit is lexicon.ONE else None
    if number.digits.denominator != 1 and number.unit is lexicon.ONE and "balance" in context.label:
        return _labelled(number, context)
    if number.digits.denominator != 1 and number.unit is lexicon.ONE and not _EXPERT.search(" ".join(number.nouns)):
        return None
    nouns = number.nouns
    joined = " ".join(nouns)
    for noun in nouns:
        if noun.startswith("param") or noun == "weights":
            return _parameters(number, context)
    if _EXPERT.search(joined):
        return _experts(number, context, joined)
    if (nouns and _DEVICE.match(nouns[-1] if len(nouns) < 3 else nouns[0])) or any(
        _DEVICE.match(noun) for noun in nouns[:2]
    ):
        return _devices(number, context)
    if (nouns and nouns[0] in {"layers", "layer"}) or joined.endswith("layers"):
        kind = re.search(r"\b(moe|dense|per stage|each)\b", f"{joined} {context.after}")
        return (
            None
            if number.per or (kind and kind[1] in {"dense", "per stage"})
            else "layers"
            if number.digits >= 1
            else None
        )
    if nouns and nouns[0] in {"sequences", "sequence", "requests"} and number.digits > 1:
        return "batch" if not number.per else None
    if nouns and nouns[0] == "heads":
        return "attention_heads" if "kv" not in context.before[-12:] else None
    if not nouns or number.unit is not lexicon.ONE or len(nouns) <= 3:
        return _labelled(number, context)
    return None


_ACTIVE: Final = re.compile(r"\bactiv(?:e|ated)\b")
_ACTIVE_BEFORE: Final = re.compile(r"\bactiv\w+\W+(?:\w+\W+){0,2}$")
_ACTIVE_AFTER: Final = re.compile(r"^\W*(?:(?:are|of (?:them|which|these))\s+)*activ|^\W*(?:a|per|for each|each) token")


def _parameters(number: Number, context: Context) -> str | None:
    words = _words(number, context)
    if re.search(
        r"\b(?:missing|gap|other|remaining|additional|unaccounted|draft|teacher|baseline|compared|embedding|shared)\b",
        f"{context.label} {context.before[-30:]}",
    ):
        return None
    if re.search(r"\bper expert\b|\beach expert\b|\bexpert (?:has|would need|needs)\b|\bone expert\b", words):
        return "parameters_per_expert"
    if _ACTIVE.search(f"{context.label} {' '.join(number.nouns)}") or _ACTIVE_BEFORE.search(context.before) or (
        "token" in number.per or _ACTIVE_AFTER.match(context.after)
    ):  # fmt: skip
        return "active_parameters"
    if re.search(r"\bper (?:gpu|device|layer)\b", words):
        return None
    if re.search(r"\bexperts?\b", f"{context.label} {context.before}") and "total with" not in context.label:
        return "expert_parameters"
    if (
        re.search(r"\b(?:attention|embedding|router)\b", f"{context.before} {' '.join(number.nouns)}")
        or "dense" in number.nouns
    ):
        return None
    return "parameters"


def _experts(number: Number, context: Context, joined: str) -> str | None:
    words = _words(number, context)
    kept_out = r"\b(?:active|activated|selected|shared|redundant|top-?k)\b"
    if re.search(kept_out, f"{context.before[-20:]} {joined}") or re.match(
        r"^\W*(?:are |is )?(?:active|activated|selected|routed to|shared|redundant)\b", context.after
    ):
        return None
    if "token" in number.per or re.match(r"^\W*per token", context.after):
        return None
    per_device = any(_DEVICE.match(word) for word in number.per) or bool(
        re.search(r"\b(?:each|every|per) (?:gpu|device|rank)\b", f"{context.before} {context.label}")
        or re.match(r"^\W*(?:on |in |for )?(?:each|every|per) (?:gpu|device|rank)\b", context.after)
    )
    per_layer = "layer" in number.per or bool(_PER_LAYER.match(context.after))
    instances = "instance" in joined
    if per_device and per_layer:
        return "experts_per_gpu_per_layer"
    if per_device:
        return "expert_instances" if instances else "experts_per_gpu"
    if per_layer:
        return "experts_per_layer"
    if re.search(r"\btotal (?:number of )?experts?\b|\bexperts? (?:instances )?(?:in )?total\b|\btotal expert", words):
        return "experts_total"
    return "experts" if number.digits > 1 and not number.per and not instances else None


def _devices(number: Number, context: Context) -> str | None:
    if not set(AXES).isdisjoint(number.nouns):
        return None  # "20 DP ranks" are a degree
    after = f"{' '.join(number.nouns)} {context.after}"
    if number.per or re.search(
        r"\b(?:per|each|every)\s+(?:node|server|host|stage|group|replica)|(?:in|within) (?:a|one|each) (?:node|group)",
        after,
    ):
        return (
            "devices_per_node"
            if re.search(r"node|server|host", after) or set(number.per) & {"node", "server", "host"}
            else None
        )
    if re.match(
        r"^(?:\S+ )?\s*(?:nodes?|servers?|hosts?|machines?|box(?:es)?|stages?|groups?|replicas?|systems?)\b",
        context.after,
    ) or {"node", "nodes", "server", "servers"} & set(number.nouns):
        return (
            "devices_per_node"
            if re.search("node|server|host|machine", f"{context.after} {' '.join(number.nouns)}")
            else None
        )
    if re.search(r"\b(?:available|idle|spare|free|unused|left over)\b", after) or re.search(
        r"\b(?:each|every) (?:stage|replica|group|instance|pipeline|node)\b|\b(?:up to|out of|cluster (?:of"
        r"|with|has))\s*$",
        context.before,
    ):
        return "devices_available"
    if (
        number.digits < 1
        or number.decimal
        or number.digits > _MOST_DEVICES
        or re.search(
            r"\b(?:examples?|simplified|only|using|instead|subset|group of|groups? of|expert)\b", context.before[-24:]
        )
    ):
        return None
    return "devices"


_LABELS: Final = (
    ("experts_per_gpu_per_layer", re.compile(r"experts?[ _](?:per|/)[ _]?(?:gpu|device|rank)[ _](?:per|/|and)[ _]?"
                                             r"layer")),
    ("expert_instances", re.compile(r"expert instances (?:per|/|on each) ?(?:gpu|device|rank)")),
    ("experts_per_gpu", re.compile(r"experts?[ _]?(?:per|/)[ _]?(?:gpu|device|rank)")),
    ("experts_per_layer", re.compile(r"experts?[ _]?(?:per|/|in each)[ _]?(?:moe[ _])?layer|\bnum_(?:local_"
                                     r"|routed_)?experts\b|\bn_routed_experts\b")),
    ("experts_total", re.compile(r"total (?:number of )?experts?(?: instances)?(?: across all layers)?$"
                                 r"|total expert instances")),
    ("devices_per_node", re.compile(r"(?:gpus?|devices?) ?(?:per|/) ?(?:node|server|host)")),
    ("devices", re.compile(r"^(?:total |number of |num[_ ]|total number of |world[_ ]size|total_)*(?:gpus?"
                           r"|devices?|accelerators?|gpu count|device count|world[_ ]size)"
                           r"(?: count| required| needed)?$")),
    ("replicas", re.compile(r"^(?:number of |total )?(?:replicas|serving instances)$")),
    ("nodes", re.compile(r"^(?:number of |total )?(?:nodes|hosts)$")),
    ("balance", re.compile(r"^(?:expert )?(?:load )?(?:im)?balance$|^max(?:imum)? over mean$")),
    ("layers", re.compile(r"^(?:number of |num[_ ]|total |moe |transformer |hidden[_ ]|num[_ ]hidden[_ ])*layers?$")),
    ("expert_hidden_size", re.compile(r"(?:expert|moe)[_ ](?:hidden|intermediate|ffn|inner)[_ ]?(?:size"
                                      r"|dim(?:ension)?)?$|moe_intermediate_size")),
    ("hidden_size", re.compile(r"^(?:model )?(?:hidden|d_model|embedding)[_ ]?(?:size|dim(?:ension)?)?$|^d_model$")),
    ("attention_heads", re.compile(r"^(?:number of |num[_ ])?(?:attention[_ ])?heads$")),
    ("head_size", re.compile(r"^(?:attention )?head[_ ](?:size|dim(?:ension)?)$")),
    ("vocabulary", re.compile(r"^vocab(?:ulary)?(?:[_ ]size)?$")),
    ("expert_matrices", re.compile(r"^(?:matrices|projections) per expert$")),
    ("batch", re.compile(r"^(?:global |max |decode )?batch(?:[_ ]size)?$|^concurrent (?:sequences|requests)$")),
    ("input_tokens", re.compile(r"^(?:prompt|input|sequence|context)[_ ](?:length|tokens|len)$")),
    ("parameters_per_expert", re.compile(r"param\w* per expert")),
    ("active_parameters", re.compile(r"active param\w*")),
    ("expert_parameters", re.compile(r"^(?:total )?expert param\w*(?: count)?$")),
    ("parameters", re.compile(r"^(?:total |model )*param\w*(?: count)?$|^model size$")),
)  # fmt: skip


_NAMING: Final = re.compile(
    r"expert|gpus?|device|accelerator|world|layer|moe|hidden|d_model|embedding|head|vocab|matrices|projections|batch"
    r"|concurrent|prompt|input|sequence|context|param|model size|replicas|instances|nodes|hosts|balance|over mean"
)
"""Without one of these, a label is none of the above."""
_ANY_LABEL: Final = re.compile("|".join(f"(?:{pattern.pattern})" for _, pattern in _LABELS))


def _labelled(number: Number, context: Context) -> str | None:
    """A bare number named by its label: ``Total GPUs: 128``."""
    if context.before and not re.fullmatch(r"\W*(?:is|of|only|exactly|a total of|total)?\W*", context.before):
        return None
    label = re.sub(r"\s*\([^)]*\)|[*`\"']", "", context.label).strip()
    stripped = re.sub(
        r"\s+(?:claimed|calculated|actual|value|documented|stated|corrected|computed|expected|reported"
        r"|current|correct)$",
        "",
        label,
    )
    if _NAMING.search(stripped) is None or _ANY_LABEL.search(stripped) is None:
        return None
    for name, pattern in _LABELS:
        if pattern.search(stripped):
            large = name.startswith(("param", "active", "expert_param"))
            if large and number.value < Fraction(1000):
                return None
            if not large and number.unit is not lexicon.ONE and name != "input_tokens":
                return None
            return name
    return None
