"""Plays Autobahn's cases against a WebSocket echo and prints what came out. Python 2.7, with requirements.txt.

    fuzz.py URL MESSAGES SHARE/SHARES [CASE...]

A case is played by one process only: SHARE of SHARES says which. The cases of sections 12 and 13 send 1000 messages each
unless MESSAGES is less. CASE is an identifier with or without a star, such as 9.*; without one all are played.
"""
from __future__ import print_function

import json
import sys

# Must be the first import of Twisted.
from autobahntestsuite import choosereactor  # noqa: F401
from twisted.internet import reactor

from autobahntestsuite import fuzzing
from autobahntestsuite.caseset import CaseSet

AGENT = "echo"


class Client(fuzzing.FuzzingClientFactory):
    """Keeps results instead of writing reports."""

    def createReports(self):
        pass


def main():
    url, messages, share = sys.argv[1:4]
    messages = int(messages)
    share, shares = [int(number) for number in share.split("/")]
    for case in fuzzing.Cases:
        if hasattr(case, "COUNT"):
            case.COUNT = min(case.COUNT, messages)
    names = CaseSet(fuzzing.CaseSetname, fuzzing.CaseBasename, fuzzing.Cases, fuzzing.CaseCategories,
                    fuzzing.CaseSubCategories)
    wanted = names.parseSpecCases({"cases": sys.argv[4:] or ["*"], "exclude-cases": []})
    spec = {"servers": [{"agent": AGENT, "url": url}], "cases": wanted[share::shares], "exclude-cases": [],
            "exclude-agent-cases": {}}
    # What the suite says about its progress is not the result.
    out, sys.stdout = sys.stdout, sys.stderr
    client = Client(spec)
    reactor.run()
    results = {}
    for name, case in client.agents.get(AGENT, {}).items():
        results[name] = {"behavior": case["behavior"], "behaviorClose": case["behaviorClose"],
                         "result": [case["result"], case["resultClose"]], "duration": case["duration"]}
    print(json.dumps(results, sort_keys=True), file=out)


if __name__ == "__main__":
    main()
