"""What axe-core finds in a page: rules of accessibility that a program can check.

axe.min.js is axe-core 4.14.1 (MPL-2.0) as its package on npm has it. It is for tests alone, and in no wheel.
"""

from pathlib import Path

from tests.desk.chromium import Tab

FILE = Path(__file__).with_name("axe.min.js")
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
_FINDINGS = """axe.run(document).then((found) => found.violations.map(
  (one) => one.id + ": " + one.nodes.map((node) => node.target + " " + node.failureSummary).join("; ")))"""


async def findings(tab: Tab) -> list[str]:
    """Each violation with its places; none is the aim."""
    await tab.run(FILE.read_text("utf-8") + "; true")
    found: list[str] = await tab.run(_FINDINGS)
    return found
