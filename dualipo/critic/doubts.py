"""Words that take a verdict back, doubt it, or say that no video was seen."""

import re

DOUBTS = r"would|example|wrong|doubt\w*|is it|no one|nobody"
HEDGE = re.compile(r"\b(?:not|no|but|or|either|could|may|should)\b", re.I)
TAKES_BACK = re.compile(
    r"\b(?:wait|hold on|actually|correct(?:ion|ed| (?:that|this|it|myself))|guess\w*|arbitrar\w+|"
    r"random(?:ly)?|provisional|tentative\w*|preliminary|did(?: not|n't) (?:see|watch)|"
    r"scratch|opposite|contrary|vice versa|other way|"
    r"mix(?:ed)? (?:them )?up|mist(?:ake\w*|ook)|mis(?:read|judged|labell?ed)|sorry|"
    r"apolog\w+|re(?:consider|vis|tract|think|thought)\w*|updat\w+|withdraw\w*|overrul\w*|"
    r"on (?:second|further|closer|reflection)|second (?:thought|look)|changed? my|"
    r"take (?:that|it|this) back|never ?mind|strike that|disregard|ignore|refuse|un(?:sure|certain|"
    r"decided)|inconclusive|not (?:sure|certain|clear|final|true|correct|right|really|quite|"
    r"so)|(?<!nothing )(?<!which )(?:is|was|be|am|are) (?:wrong|incorrect|invalid|false|reversed)|"
    r"(?:cannot|can't) be (?:worse|better|beaten|right|true|correct|the|[AB])|hmm+|"
    r"or rather|depends on|maybe|perhaps|jok(?:e|ing)|kidding|if|unless|"
    r"otherwise|hypothetical\w*|placeholder)\b|\bno,"
    r"|^\W*(?:no|nope|not|nah|instead|rather|except|or|oops|ah|oh|hm)\b|[,:;-] (?:no|rather)\W*$",
    re.I,
)
# Faults of a clip are told in the same words: "In video B, the legs swap".
_SLIP = re.compile(r"\b(?:mixed|swap\w*|unclear|cannot|can't|could(?: not|n't)|unable)\b", re.I)
_OF_A_CLIP = re.compile(
    r"(?:but |and |while |although |though |because |in |of )*"
    r"(?:(?:the )?(?:video|clip) [AB]\b(?!,? (?:and|or)\b)|the |its )",
    re.I,
)
_OF_THE_ANSWER = re.compile(
    r"\b(?:I|my|me|we|you|they (?:are|were|got)|verdicts?|answers?|grad\w+|"
    r"good|normal|bad|rat(?:e|ed|ings?)|"
    r"scor\w+|labels?|order|names?|letters?|videos|clips|with (?:video|clip)|two|both|ones?|first|"
    r"second|other|judg\w+|choice|decision|winner|above|user|caption|question|"
    r"evidence|comparison|difference|result|outcome|frames?|footage|truth|wins?|loses?|A and B)\b",
    re.I,
)
_SUPPOSES = re.compile(
    rf"\b(?:{DOUBTS}|could|might|may|should|say|says|said|suppos\w+|assum\w+|"
    r"instruct\w+|told|asks?|asked|whether|either|not enough|too few)\b|\?",
    re.I,
)
CONCEDES = re.compile(r"\W*(?:although|though) [^,]*\b(?:video|clip) [AB]\b[^,]*, ", re.I)
TURNS = re.compile(r"^\W*(?:but|however|yet|though|although|still)\b", re.I)
SPEAKER = re.compile(r"\bI\b|\bmy\b")
OWN_REASON = re.compile(
    r"\bI (?:chose|choose|pick|picked|prefer|select|selected|based|notice|noticed|observe|observed|"
    r"see|saw|found|find)\b|\b[Mm]y (?:reason|explanation|analysis|evaluation|observation)",
)
FAREWELL = re.compile(
    r"(?:please )?(?:let me know|feel free|i hope|hope (?:this|that)|thank|do you|would you)", re.I
)
UNSEEN = re.compile(
    r"\b(?:cannot|can't|unable to|not able to|could(?: not|n't)|do(?: not|n't)) (?:\w+ )?"
    r"(?:see|view|watch|access|open|play|process|analy[sz]e) "
    r"(?:(?:the|any|these|those|your|actual|provided|either) )*(?:videos?|clips?|images?|frames?|"
    r"them|it)\b"
    r"|\bno (?:video|clip|frame|image)s? (?:(?:was|were|is|are|has been|have been) )?"
    r"(?:provided|given|shown|attached|visible|available|included|uploaded)\b"
    r"|\b(?:see|received?|have) no (?:video|clip|frame|image)s?\b"
    r"|\b(?:videos?|clips?|frames?|images?) (?:[AB] )?(?:cannot|can't|could not|couldn't) be "
    r"(?:played|viewed|opened|loaded|seen|accessed|processed)\b"
    r"|\bno access\b|\bthere (?:is|are) no (?:video|clip|frame|image)s?\b"
    r"|\bnot (?:shown|given) any (?:videos?|clips?|frames?|images?)\b",
    re.I,
)


def takes_back(text: str, *, is_reason: bool = False) -> bool:
    """Tell whether a text takes a verdict back, unless it only tells what is seen in a clip.

    `is_reason` says that it stands behind "because", and so tells what is seen.
    """
    is_of_a_clip = is_reason or _OF_A_CLIP.match(text)
    is_slip = _SLIP.search(text) and not (is_of_a_clip and not _OF_THE_ANSWER.search(text))
    return bool(TAKES_BACK.search(text) or is_slip)


def supposes(text: str) -> bool:
    """Tell whether a reason is only supposed, or quoted, or comes from one who saw nothing."""
    return bool(_SUPPOSES.search(text) or UNSEEN.search(text))
