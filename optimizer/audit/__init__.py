"""Audit of deployment documents: equations, facts, claims and contradictions, each with its line and its arithmetic."""

from optimizer.audit.audit import audit_document
from optimizer.audit.result import AuditResult
from optimizer.audit.verdict import Verdict

__all__ = ["AuditResult", "Verdict", "audit_document"]
