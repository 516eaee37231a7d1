"""Checks a bill of materials against CycloneDX's schema and against a list of crates that must be in it.

bill.py BILL LINKED
"""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main(bill, linked):
    with open(bill, encoding="utf-8") as file:
        text = file.read()
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        sys.exit(f"{bill}: not as CycloneDX 1.6 says: {wrong}")
    stated = json.loads(text)
    root = stated["metadata"]["component"]
    named = {f"{c['name']}@{c['version']}" for c in [root, *stated["components"]] if c.get("scope") != "excluded"}
    with open(linked, encoding="utf-8") as file:
        must = set(file.read().split())
    if not must or must - named:
        sys.exit(f"{bill}: {len(must)} crates are linked, and not named: {sorted(must - named)}")
    unlicensed = [c["name"] for c in stated["components"] if not c.get("licenses")]
    if unlicensed:
        sys.exit(f"{bill}: without a licence: {unlicensed}")
    print(f"{root['name']}: {len(must)} crates linked, {len(stated['components'])} named")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
