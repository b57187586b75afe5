"""Questions that several tests of clusters ask."""

# Two pools whose devices suit prefill and decode differently; few nodes, so that it is solved and certified in seconds.
DISAGGREGATED = """
pools:
  h100: {hardware: h100-sxm-8, nodes: 1, billing: on_demand}
  a100: {hardware: a100-sxm-8, nodes: 1, billing: on_demand}
demands:
  chat:
    model: llama-3.1-8b
    workload: {phase: disaggregated, input_tokens: 2000, output_tokens: 300, request_rate: 10}
    limits: {ttft: 1 s, tpot: 40 ms}
objective: cost
"""
