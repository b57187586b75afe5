"""What is claimed, with its witnesses, and the checker of it."""

from optimizer.certificate.documents import certify
from optimizer.certificate.verdict import Check

__all__ = ["Check", "certify"]
