# SPDX-License-Identifier: MIT
"""A header's comments as mdoc(7): names, constants, errors and references get their
macros, each sentence its line.

Owns nothing. Called by: userspace/man/pages.
"""

import re

# What an error's name looks like: ENOMEM, E2BIG, and no other word in capitals.
ERRNO = re.compile(r"E(?:2BIG|[A-Z]{4,15})")
NOT_ERRNO = {"ERROR", "EPOLLIN", "EPOLLPRI", "EPOLLHUP", "EPOLLERR", "EVENT"}
ERROR = r"-?E(?!RROR\b)(?:2BIG|[A-Z]{4,15})"
WORD = re.compile(r"""^([(\["']*)(.*?)([)\],.;:?!"']*)$""")


def is_errno(word):
    """Is it the name of an error?"""
    return bool(ERRNO.fullmatch(word)) and word not in NOT_ERRNO


def escape(text):
    """Text that means itself."""
    text = text.replace("\\", "\\e")
    return "\\&" + text if text.startswith((".", "'")) else text


def sentence(text):
    """With a capital and a full stop; a word that is a name stays as it is."""
    text = text.strip()
    if re.match(r"(?!enum |struct )[a-z]+(?![\w(])", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", ":")) else text + "."


class Renderer:
    """Knows the FUNCTIONS there are, for references, and those of this page (HERE)."""

    def __init__(self, functions, here=()):
        self.functions = functions
        self.here = set(here)

    def _macro(self, core):
        """[macro, argument] of a word, or None if it is a plain one."""
        call = re.fullmatch(r"(\w+)\((\d?)\)", core)
        if call and call.group(2):
            return ["Xr", call.group(1), call.group(2)]
        if call and call.group(1) in self.functions - self.here:
            return ["Xr", call.group(1), "3"]
        if call:
            return ["Fn", call.group(1)]
        if core.startswith("@"):
            return ["Fa", core[1:]]
        if core.startswith("&struct\0"):
            return ["Vt", '"' + core[1:].replace("\0", " ") + '"']
        if core.startswith("&"):
            return ["Va", core[1:]]
        if is_errno(core.lstrip("-")):
            return ["Er", core.replace("-", "\\-")]
        if re.fullmatch(r"_?CHIPBOOT_[A-Z_*]+|SIG[A-Z]+|E?POLL[A-Z]+|"
                        r"(?:O|MAP|PROT|CLOCK)_[A-Z]+", core):
            return ["Dv", core]
        return None

    def text(self, text):
        """Lines of one paragraph."""
        lines = []
        text = re.sub(r"&struct (\w+)", "&struct\0\\1", text)
        for sentence in re.split(r"(?<=[.:?!])  +", text):
            plain = []
            for word in sentence.split(" "):
                lead, core, trail = WORD.match(word).groups()
                if core.endswith("'s"):
                    core, trail = core[:-2], "'s" + trail
                macro = self._macro(core)
                if not macro or '"' in lead + trail:
                    plain.append(word.replace("\0", " "))
                    continue
                if plain:
                    lines.append(escape(" ".join(plain)))
                    plain = []
                lines.append("." + " ".join(
                    [macro[0], *lead, *macro[1:], *self._behind(trail)]))
            if plain:
                lines.append(escape(" ".join(plain)))
        return lines

    @staticmethod
    def _behind(trail):
        """What follows a macro's argument, without a space."""
        if "'" in trail:
            return ["Ns", escape(trail)]
        return list(trail)

    def body(self, body):
        """Lines of paragraphs, lists and code."""
        lines = []
        for kind, content in body:
            if kind == "text":
                lines += [".Pp", *self.text(content)]
            elif kind == "list":
                lines += self.tags([(self.tag(tag), text)
                                    for tag, text in content])
            else:
                lines += [".Bd -literal -offset indent",
                          *map(escape, content), ".Ed"]
        return lines

    def tag(self, tag):
        """A list's tag: a macro if it is one word, or several errors."""
        words = tag.split(", ")
        if all(is_errno(word.lstrip("-")) for word in words):
            return "Er " + " , ".join(word.replace("-", "\\-") for word in words)
        macro = self._macro(tag)
        return " ".join(macro) if macro else escape(tag)

    def tags(self, items):
        """A list of (tag, text)."""
        lines = [".Bl -tag -width Ds"]
        for tag, text in items:
            lines += [f".It {tag}", *(self.text(text) if text else [])]
        return [*lines, ".El"]


def split_errors(text):
    """(what comes before, [(names, text)]) of a paragraph that ends in errors."""
    parts = re.split(rf"(?:^|(?<=\s))({ERROR}(?:, {ERROR})*): ", text)
    return parts[0].strip(), [(names.split(", "), said.strip()) for names, said
                              in zip(parts[1::2], parts[2::2])]
