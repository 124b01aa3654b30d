"""Words that take a verdict back, doubt it, or say that no video was seen."""

import re

HEDGE = re.compile(r"\b(?:not|no|but|or|either|could|may|should)\b", re.I)
TAKES_BACK = re.compile(
    r"\b(?:wait|hold on|actually|correct(?:ion|ed| (?:that|this|it|myself))|guess\w*|arbitrar\w+|"
    r"random(?:ly)?|provisional|tentative\w*|preliminary|did(?: not|n't) (?:see|watch)|"
    r"scratch|opposite|contrary|vice versa|other way|mixed|"
    r"mix(?:ed)? (?:them )?up|swap\w*|mist(?:ake\w*|ook)|mis(?:read|judged|labell?ed)|sorry|"
    r"apolog\w+|re(?:consider|vis|tract|think|thought)\w*|updat\w+|withdraw\w*|overrul\w*|"
    r"on (?:second|further|closer|reflection)|second (?:thought|look)|changed? my|"
    r"take (?:that|it|this) back|never ?mind|strike that|disregard|ignore|refuse|un(?:sure|certain|"
    r"decided|clear)|inconclusive|not (?:sure|certain|clear|final|true|correct|right|really|quite|"
    r"so)|(?:is|was|be|am|are) (?:wrong|incorrect|invalid|false|reversed)|cannot|can't|"
    r"could(?: not|n't)|unable|hmm+|or rather|maybe|perhaps|jok(?:e|ing)|kidding|if|unless|"
    r"otherwise|hypothetical\w*|placeholder)\b|\bno,"
    r"|^\W*(?:no|nope|not|nah|instead|rather|except|or|oops|ah|oh|hm)\b|[,:;-] (?:no|rather)\W*$",
    re.I,
)
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
    r"them|it)\b",
    re.I,
)
