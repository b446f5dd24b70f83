"""The canonical form of a plan (RFC 8785, JSON Canonicalization Scheme) and the id made from it."""

from hashlib import sha256

import msgspec
import rfc8785

from planner.model import Plan


def canonical(plan: Plan) -> bytes:
    """Give the one byte string that stands for a plan; a part that is absent leaves no trace in it."""
    content = msgspec.to_builtins(plan)
    if plan.setup is None:
        del content["setup"]
    return rfc8785.dumps(content)


def plan_id(plan: Plan) -> str:
    """Identify a plan by its content: SHA-256 of the canonical form, hex."""
    return sha256(canonical(plan)).hexdigest()
