"""The blocks of a page, and whether what they print is what the page shows."""
import dataclasses
import difflib
import re

# Of a chapter: one that lacks a program is skipped whole, as its parts go on from each other.
HEADING = re.compile(r"##? +(.*)")
FENCE = re.compile(r"```(\S*)(.*)")
# The first line of a block that needs what the test does not have; readers see it, too.
NEEDS = re.compile(r"# needs (.+)")
# Only these may be a reason: programs that have no place in a test that takes a minute.
ELSEWHERE = re.compile(r"\b(cargo|docker|kind|kubectl|helm|tests/\w+)\b")


class Wrong(Exception):
    """A page that can't be followed, or a block that does something else than the page says."""


@dataclasses.dataclass
class Block:
    page: str
    line: int
    section: str
    text: str
    shows: str | None = None

    @property
    def where(self):
        return f"{self.page}:{self.line}"

    @property
    def needs(self):
        """What a marked block needs."""
        first = NEEDS.match(self.text)
        return first and first[1]


def blocks(page, text):
    """The blocks in their order. What is neither a command block nor what one prints is refused: nobody would try it out."""
    found, section, lines = [], "", iter(enumerate(text.splitlines(), 1))
    after = None
    for number, line in lines:
        if heading := HEADING.match(line):
            section, after = heading[1], None
        if not (fence := FENCE.match(line)):
            continue
        content = "".join(f"{inner}\n" for inner in until_the_end(page, number, lines))
        if fence[1] == "sh" and not fence[2]:
            after = Block(page, number, section, content)
            check_mark(after)
            found.append(after)
        elif fence[1] == "text" and after and after.shows is None:
            after.shows = content
        else:
            raise Wrong(f"{page}:{number}: a block is `sh`, or `text` after the one that prints it; this is neither")
    return found


def until_the_end(page, start, lines):
    for _, line in lines:
        if line.startswith("```"):
            return
        yield line
    raise Wrong(f"{page}:{start}: the block has no end")


def check_mark(block):
    if block.needs and not ELSEWHERE.search(block.text.split("\n", 1)[1]):
        raise Wrong(f"{block.where}: it says that it needs {block.needs}, and all of its programs are here")


def difference(shown, printed):
    """How what was printed differs from what the page shows: `…` stands for anything in a line, alone for any lines."""
    if pattern(shown).fullmatch(plain(printed)):
        return None
    return "\n".join(difflib.unified_diff(shown.splitlines(), printed.splitlines(), "the page", "the block", lineterm=""))


def pattern(shown):
    lines = plain(shown).splitlines()
    rest = r"[^\n]*".join
    parts = [r"(?:[^\n]*\n)*?" if line == "…" else rest(map(re.escape, line.split("…"))) + "\n" for line in lines]
    return re.compile("".join(parts))


def plain(text):
    """With one space for several, as widths of columns follow from what is in them."""
    return "".join(re.sub(r"[ \t]+", " ", line).strip() + "\n" for line in text.splitlines())
