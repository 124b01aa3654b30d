"""Answers of a given form, which a server that can enforces (`critic.server.structured`).

    response_format   a JSON object with evidence, grades and a verdict, by a JSON schema
    guided_choice     one of the few texts that are a bare label in the grammar, without reasons

A JSON answer is written in the grammar before it is read, so that all that follows sees one form.
"""

import json
import re
from typing import Any

from dualipo.config.servers import Structured
from dualipo.critic import reasoning
from dualipo.critic.vlm import Kind
from dualipo.records import GRADES

IN_JSON: dict[Kind, str] = {
    "pair": "\nWrite this as one JSON object with the keys A, B and verdict.",
    "point": "\nWrite this as one JSON object with the keys evidence and grade.",
}
_LABEL_KEY: dict[Kind, str] = {"pair": "verdict", "point": "grade"}
_CLIP = {"evidence": {"type": "string"}, "grade": {"enum": list(GRADES)}}


def wanted(structured: Structured, kind: Kind) -> dict[str, Any]:
    """Return what a request holds so that its answer has the form."""
    if structured == "guided_choice":
        labels = reasoning.NAMES.values() if kind == "pair" else GRADES
        texts = [reasoning.render_bare(kind, label) for label in labels]
        # vLLM reads the first before 0.12 and the second since, and ignores the other.
        return {"guided_choice": texts, "structured_outputs": {"choice": texts}}
    if structured == "response_format":
        schema = {"name": _LABEL_KEY[kind], "strict": True, "schema": _schema(kind)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {}


def in_grammar(text: str, kind: Kind) -> str:
    """Return a JSON answer in the grammar; any other text is returned as it is."""
    try:
        said = json.loads(text)
        if kind == "point":
            return reasoning.render_point(str(said["evidence"]), said["grade"])
        a, b, verdict = said["A"], said["B"], str(said["verdict"]).lower()
        if verdict not in reasoning.NAMES:
            return text
        return reasoning.render_pair(
            str(a["evidence"]), a["grade"], str(b["evidence"]), b["grade"], verdict
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def place_of_label(text: str, kind: Kind) -> str | None:
    """Return the part of a JSON answer after which its label stands; None without one."""
    found = re.findall(rf'"{_LABEL_KEY[kind]}"\s*:\s*"', text)
    return found[-1] if found else None


def _schema(kind: Kind) -> dict[str, Any]:
    if kind == "point":
        return _object(_CLIP)
    clip, verdict = _object(_CLIP), {"enum": list(reasoning.NAMES.values())}
    return _object({"A": clip, "B": clip, "verdict": verdict})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
