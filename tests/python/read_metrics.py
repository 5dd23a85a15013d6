"""Reads metrics on stdin with the official parser of OpenMetrics, and writes them as JSON."""

import json
import math
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

text = sys.stdin.buffer.read().decode("utf-8")
families = [
    {
        "name": family.name,
        "type": family.type,
        "samples": [[s.name, s.labels, s.value if math.isfinite(s.value) else None] for s in family.samples],
    }
    for family in openmetrics(text)
]
# The older format has other types, and the same samples.
older = sum(len(family.samples) for family in classic(text))
newer = sum(len(family["samples"]) for family in families)
assert older == newer, (older, newer)
json.dump(families, sys.stdout)
