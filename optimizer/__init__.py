"""shardproof: the best way to spread a large language model over devices, with its proof."""

__version__ = "0.1.0"
