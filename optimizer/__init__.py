"""shardproof: the best way to spread a large language model over devices, with its proof."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "Cluster", "FleetResult", "Layout", "Problem", "Result", "SpecError", "audit", "certify", "explain", "place",
    "read_problem", "solve", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the interface names
    """The public names load when they are asked for: a command that prints a schema needs no solver."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = getattr(import_module("optimizer.interface"), name)
    package = sys.modules.get(f"{__name__}.{name}")
    if package is not None:  # one name for both: `optimizer.solve.result` is found at the function too
        public.__dict__ = vars(package)
    return public


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Package(ModuleType):
    """Importing ``optimizer.solve.result`` binds the name ``solve`` to a package: the name is that of the function."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in __all__ or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
