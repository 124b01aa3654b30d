"""Takes secrets out of what is written or shown (fault 62).

A value is hidden where its name says that it is secret, and within a text whatever looks like a
published key. Addresses lose their user, query and fragment, where tokens travel.

Left out: keys of services that publish no format, and passwords among words. Keys belong into the
environment, which is never written anywhere.
"""

import re
from typing import Any
from urllib.parse import urlsplit

REDACTED = "<redacted>"

_SECRET_NAME = re.compile(
    r"(^|[._-])(token|secret|password|passwd|passphrase|pwd|credential|credentials|authorization"
    r"|cookie|(api|access|private|secret|ssh)[_-]?key)$",
    re.IGNORECASE,
)
# POSIX names variables so; nearly every key has small letters, too.
_VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
# One service a line, so that a test can hold an example of each.
KEY_FORMATS: dict[str, str] = dict(
    line.split(":  ", 1)  # type: ignore[misc]
    for line in r"""
Hugging Face:  \bhf_\w{16,}|\bapi_org_\w{16,}
OpenAI, Anthropic, DeepSeek, OpenRouter:  \bsk-[\w-]{16,}
GitHub:  \bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}
GitLab:  \bgl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[\w.-]{16,}
AWS:  \b(?:AKIA|ASIA)[0-9A-Z]{16}\b
Google:  \bAIza[\w-]{30,}|\bya29\.[\w-]{16,}|\bGOCSPX-[\w-]{16,}
Slack:  \bxox[a-z]-[\w-]{10,}|\bxapp-[\w-]{10,}
Stripe:  \b[srp]k_(?:live|test)_\w{10,}|\bwhsec_\w{16,}
npm:  \bnpm_\w{30,}
PyPI:  \bpypi-[\w-]{16,}
Groq:  \bgsk_\w{16,}
Replicate:  \br8_\w{16,}
xAI:  \bxai-[\w-]{16,}
Perplexity:  \bpplx-[\w-]{16,}
NVIDIA:  \bnvapi-[\w-]{16,}
Fireworks:  \bfw_\w{16,}
Together:  \btgp_v1_[\w-]{16,}
Weights & Biases:  \bwandb_v\d_\w{16,}|\blocal-[0-9a-f]{40}\b
Databricks:  \bdapi[0-9a-f]{32}\b
DigitalOcean:  \bdo[opr]_v1_[0-9a-f]{16,}
Docker:  \bdckr_[a-z]+_[\w-]{16,}
SendGrid:  \bSG\.[\w-]{16,}\.[\w-]{16,}
JSON Web Tokens:  \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
RunPod:  \brpa_\w{16,}
Cerebras:  \bcsk-[\w-]{16,}
webhooks:  \bhttps://(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/[\w/-]{8,}
settings:  (?i:[\w-]*(?:key|token|secret|password)["']?\s*[=:]\s*["']?(?=\w*\d)\w[^\s"'<,;&)]{7,})
HTTP headers:  (?i:\b(?:bearer|basic)\s+(?=\S*[\d=])[\w.~+/=-]{8,})
private keys:  -----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*-----|\Z)
""".strip().split("\n")
)
_SECRET_VALUE = re.compile("|".join(f"(?:{pattern})" for pattern in KEY_FORMATS.values()))
_ADDRESS = re.compile(
    r"""\b(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)  # of an address,
    (?:[^\s/?\#@]*@)*                             # its user,
    (?P<place>[^\s?\#'"<>@]*)                     # its host and path,
    (?:[?\#][^\s'"<>)\]]*)?                       # its query and fragment
    """,
    re.VERBOSE,
)


def redact(value: Any, *, name: str = "") -> Any:
    """Return `value` without secrets: those known by their name, and those that look like one."""
    if isinstance(value, dict):
        return {key: redact(inner, name=str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact(inner, name=name) for inner in value]
    if isinstance(value, str):
        is_secret = bool(value and _SECRET_NAME.search(name))
        is_key = name.endswith("api_key_env") and not is_variable_name(value)
        return REDACTED if is_secret or is_key else redacted_text(value)
    return value


def is_variable_name(text: str) -> bool:
    """Tell whether a text is the name of an environment variable, and not perhaps a key."""
    return bool(_VARIABLE_NAME.fullmatch(text)) and not _SECRET_VALUE.search(text)


def is_address(text: str) -> bool:
    """Tell whether a text is the address of a server that speaks HTTP."""
    try:
        parts = urlsplit(text)
        is_served = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half a bracket, or a port beyond 65535
        return False
    return is_served and not re.search(r"[\s\x00-\x20]", text)


def redacted_text(text: str) -> str:
    """Return a text without keys, and its addresses without user, query and fragment."""
    plain = _ADDRESS.sub(lambda address: address["scheme"] + address["place"], text)
    return _SECRET_VALUE.sub(REDACTED, plain)
