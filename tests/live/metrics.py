"""Reads metrics from standard input with the parsers of prometheus_client, as
text format or, with the argument `openmetrics`, as OpenMetrics; writes each
sample as a line of JSON. Any error of the format ends it with a code of 1."""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

text = sys.stdin.read()
if sys.argv[1:] == ["openmetrics"]:
    families = list(openmetrics_parser.text_string_to_metric_families(text))
else:
    families = list(parser.text_string_to_metric_families(text))
for family in families:
    assert family.documentation, f"{family.name} has no help"
    assert family.type in ("counter", "gauge"), f"{family.name} is {family.type}"
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, sample.value]))
