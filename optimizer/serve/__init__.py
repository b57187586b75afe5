"""The what-if page: a question with controls, and its answer redrawn, on this machine only."""

from optimizer.serve.app import application

__all__ = ["application"]
