"""Adds to a CycloneDX document what lies in the wheel and is no package of Python: `add_bundled.py dist/sbom.json`."""

import json
import sys
from pathlib import Path

BUNDLED = Path(__file__).with_name("bundled.json")


def main(document: Path) -> None:
    bill = json.loads(document.read_text(encoding="utf-8"))
    bundled = json.loads(BUNDLED.read_text(encoding="utf-8"))
    bill["components"] += bundled
    bill["dependencies"] += [{"ref": one["bom-ref"]} for one in bundled]
    document.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
