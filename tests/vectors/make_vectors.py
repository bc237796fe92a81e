#!/usr/bin/env python3
"""Makes the vectors of format 1 and the worked examples of docs/FORMAT.md.

    make_vectors.py            write tests/vectors/*.vec and the examples in docs/FORMAT.md
    make_vectors.py --check    compare both with what is there, and run the rescue tool's reader over every vector
"""

import pathlib
import sys

import cases_blob
import cases_bucket
import cases_file
import cases_list
import cases_record
import check
import inputs
import page
from format1 import ROOT
from inputs import VECTORS


def main():
    for cases in (cases_blob, cases_record, cases_bucket, cases_list, cases_file):
        cases.make()
    checking = sys.argv[1:] == ["--check"]
    here = pathlib.Path(__file__).resolve().parent
    wanted = {name + ".vec": check.render(fields) for name, fields in VECTORS.items()}
    wanted_page = page.fill((ROOT / "docs/FORMAT.md").read_text(), inputs)
    if not checking:
        for old in here.glob("*.vec"):
            if old.name not in wanted:
                old.unlink()
        for name, text in wanted.items():
            (here / name).write_text(text)
        (ROOT / "docs/FORMAT.md").write_text(wanted_page)
    present = {path.name: path.read_text() for path in here.glob("*.vec")}
    wrong = [name for name in sorted(set(wanted) | set(present)) if wanted.get(name) != present.get(name)]
    if wanted_page != (ROOT / "docs/FORMAT.md").read_text():
        wrong.append("docs/FORMAT.md")
    for name, text in present.items():
        problem = check.run(check.parse(text))
        if problem:
            wrong.append("%s: %s" % (name, problem))
    for line in wrong:
        print("differs or fails:", line)
    print("%d vectors, %d wrong" % (len(present), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
