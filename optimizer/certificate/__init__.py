"""What is claimed, with its witnesses, and the checker of it."""

from optimizer.certificate.check import Check, certify

__all__ = ["Check", "certify"]
