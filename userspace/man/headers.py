# SPDX-License-Identifier: MIT
"""What a header's comments say, as a list in the order of the file.

Owns nothing. Called by: userspace/man/pages, selftests/check/manual. It reads the way
in which chipboot.h, chipboot_mailbox.h and linux/chipboot.h are written: kernel-doc
before a declaration, a plain comment before a group of #defines, and a line of dashes
behind the title of a section.
"""

import collections
import re

Section = collections.namedtuple("Section", "title")
# A comment of its own; body as of a Doc.
Note = collections.namedtuple("Note", "body")
# Values that are named, each with its comment: (name, text).
Constants = collections.namedtuple("Constants", "title values")
# kernel-doc: kind is function, struct, enum or define; params are (name, text); body is
# a list of ("text", sentence...), ("list", [(tag, text)]) and ("code", lines).
Doc = collections.namedtuple("Doc", "kind name brief params body decl")

COMMENT = re.compile(r"/\*(.*?)\*/", re.S)
DEFINE = re.compile(r"#define\s+(\w+)(?:\\\n|[^\n])*")


def joined(lines):
    """Lines of a sentence as one; two spaces between sentences stay."""
    text = ""
    for line in lines:
        line = line.strip()
        if not text:
            text = line
        else:
            text += ("  " if text.endswith((".", ":")) else " ") + line
    return text


def comment_lines(comment):
    """A comment without what makes it one."""
    if "\n" not in comment:
        return [comment.strip()]
    lines = [re.sub(r"^\s*\*? ?", "", line, count=1) if not
             re.match(r"^\s*\*\t", line) else line.split("*", 1)[1]
             for line in comment.split("\n")]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def parse_body(lines):
    """Paragraphs, lists and code."""
    body, text, index = [], [], 0

    def flush():
        if text:
            body.append(("text", joined(text)))
            text.clear()

    while index < len(lines):
        line = lines[index]
        if not line.startswith("\t"):
            if line.strip():
                text.append(line)
            else:
                flush()
            index += 1
            continue
        block = []
        while index < len(lines) and (lines[index].startswith("\t") or (
                not lines[index].strip() and index + 1 < len(lines)
                and lines[index + 1].startswith("\t"))):
            block.append(lines[index])
            index += 1
        code = bool(body or text) and (text or [body[-1][1]])[-1].endswith("::")
        if code and text:
            text[-1] = text[-1][:-1]
        elif code:
            body[-1] = ("text", body[-1][1][:-1])
        flush()
        body.append(("code", [line[1:] for line in block]) if code
                    else ("list", parse_list(block)))
    flush()
    return body


def parse_list(block):
    """Tab, tag, tab, text; or the text below, further in."""
    items = []
    for line in block:
        inner = line[1:]
        if not inner.strip():
            continue
        if inner.startswith("\t") and items:
            items[-1][1].append(inner.strip())
        else:
            tag, _, rest = inner.partition("\t")
            items.append((tag, [rest.strip()] if rest.strip() else []))
    return [(tag, joined(text)) for tag, text in items]


def parse_doc(lines, decl):
    """kernel-doc of the declaration DECL."""
    head, params, index = [], [], 0
    while index < len(lines) and lines[index].strip() and \
            not lines[index].startswith("@"):
        head.append(lines[index])
        index += 1
    name, _, brief = joined(head).partition(" - ")
    while index < len(lines) and lines[index].startswith("@"):
        param, _, text = lines[index][1:].partition(":")
        text = [text]
        index += 1
        while index < len(lines) and lines[index].startswith("\t"):
            text.append(lines[index])
            index += 1
        params.append((param, joined(text)))
    # A one-line comment goes on behind its first sentence.
    brief, _, rest = brief.partition(".  ")
    body = parse_body(lines[index:])
    if rest:
        body.insert(0, ("text", rest + ("" if rest.endswith(".") else ".")))
    kind = "define" if decl.startswith("#") else \
        "struct" if name.startswith("struct ") else \
        "enum" if name.split(" ")[0] == "enum" else "function"
    return Doc(kind, name, brief, params, body, decl)


def declaration(text, at):
    """The declaration that begins at AT, and where it ends."""
    match = DEFINE.match(text, at)
    if match:
        return match.group(), match.end()
    brace, semicolon = text.find("{", at), text.find(";", at)
    if text.startswith(("enum", "struct"), at) and 0 <= brace < semicolon:
        end = text.index("\n};", at) + 3
        return text[at:end], end
    if 0 <= brace < semicolon:
        # An inline function.
        return text[at:brace].strip(), text.index("\n}", at) + 2
    return text[at:semicolon].strip(), semicolon + 1


def read(path):
    """(the opening comment's body, the items) of a header."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    opening, items, at = None, [], 0
    while True:
        comment = COMMENT.search(text, at)
        if not comment:
            return opening, items
        at = comment.end()
        inside = comment.group(1)
        if "SPDX-License" in inside or re.match(r"\s*_\w+_H\s*$", inside):
            continue
        # Code before it that has no kernel-doc says nothing to a reader.
        title = re.match(r" (.*?) -{3,} $", inside)
        if title:
            items.append(Section(title.group(1)))
        elif inside.startswith("*"):
            start = re.compile(r"\s*").match(text, at).end()
            decl, at = declaration(text, start)
            items.append(parse_doc(comment_lines(inside[1:]), decl))
        elif opening is None:
            opening = parse_body(comment_lines(inside))
        else:
            group = constants(text, at)
            lines = comment_lines(inside)
            if group:
                values, at = group
                items.append(Constants(joined(lines), values))
            elif "\n" in inside:
                items.append(Note(parse_body(lines)))


def constants(text, at):
    """#defines with a comment each, from AT on; None if there are none."""
    values = []
    line = re.compile(r"\n#define (\w+)[ \t]+\S+[ \t]*/\* (.*?) \*/")
    while True:
        match = line.match(text, at)
        if not match:
            return (values, at) if values else None
        values.append(match.groups())
        at = match.end()


def enum_values(doc):
    """(name, text) of an enum's values: from its params or its comments."""
    return doc.params or re.findall(r"(\w+)\s*=\s*\d+,?\s*/\* (.*?) \*/", doc.decl)


def functions(items):
    """The Docs of functions."""
    return [item for item in items if isinstance(item, Doc)
            and item.kind == "function"]
