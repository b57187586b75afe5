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
    if name in __all__:
        return getattr(import_module("optimizer.interface"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Subpackage(ModuleType):
    """A package that shares its name with a public function, and is called as that function."""

    def __call__(self, *given: object, **named: object) -> object:
        return getattr(import_module("optimizer.interface"), self.__name__.rpartition(".")[2])(*given, **named)


class _Package(ModuleType):
    """Importing ``optimizer.solve`` binds the name ``solve`` to that package: it must stay callable."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in __all__ and type(value) is ModuleType:
            value.__class__ = _Subpackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
