"""Which rules of docs/FORMAT.md a vector shows, by its name. Every line whose pattern is found in it counts."""

import re

SHOWN = [
    (r"^(blob-\d-len|example-blob)", "F-01 F-10 F-11 F-13 F-14 F-15 F-16 F-20 F-24"),
    (r"^(blob-0-len|example-blob-0)", "F-23"),
    (r"^(blob-1-len|example-blob-1)", "F-17 F-18 F-19 F-21"),
    (r"^(blob-2-len|example-blob-2)", "F-22"),
    (r"^blob.*-part-\d|another-part", "F-12"),
    (r"^blob-bad", "F-26"),
    (r"^blob-bad-(data-key|salt|commit|part-bit|suite-0-for-2|zero-commit)", "F-14"),
    (r"^blob-bad-(segment|final|cut|last-|full|header-of)", "F-16 F-20"),
    (r"^blob-bad-(first-byte|tag).*suite-0", "F-23"),
    (r"^blob-bad-(first-byte|tag).*suite-1", "F-21"),
    (r"^blob-bad-padding", "F-18"),
    (r"^blob-entry", "F-83"),
    (r"^(record-\d|example-record)", "F-08 F-09 F-40 F-41 F-42 F-43 F-47 F-48 F-50"),
    (r"^(record-2|example-record-2)|(inner-wrap|verifier|customer-key)$", "F-49"),
    (r"^record-bad-customer", "F-55"),
    (r"^record.*object-key", "F-44"),
    (r"^record-(3|bad-kms)", "F-45"),
    (r"^record-(3|bad-encryption)", "F-46"),
    (r"^record.*rewrapped", "F-53"),
    (r"^record.*completed", "F-88"),
    (r"direct-tier", "F-69"),
    (r"^(record|example-record|file|example-file)-5", "F-97"),
    (r"^record-bad", "F-51"),
    (r"^record-bad-.*(bit|context|object-key|bucket|instance)", "F-43 F-50"),
    (r"^(bucket-record-[^b]|example-bucket)", "F-08 F-09 F-60 F-61 F-62 F-63 F-64 F-65 F-66"),
    (r"^bucket-record-other-master-version", "F-70"),
    (r"control-ring|^(example-)?master-state", "F-73"),
    (r"^(example-)?master-state", "F-74"),
    (r"^bucket-record-bad", "F-67"),
    (r"^bucket-record-bad-(rev|state|tag)", "F-62 F-63"),
    (r"^bucket-record-bad-(wraps|root|no-wrap|9)", "F-64"),
    (r"^bucket-record-bad-strategy", "F-66"),
    (r"^(manifest-\d|example-manifest)", "F-01 F-80 F-81 F-82 F-84 F-85"),
    (r"^manifest-bad", "F-85"),
    (r"^manifest-bad-(part|first|gap|overlap|total$|sum|no-parts|10001)", "F-82"),
    (r"^manifest-bad-page", "F-81"),
    (r"^(head|attrs|example-head|example-attrs)", "F-02 F-86"),
    (r"^(head|example-head)", "F-87"),
    (r"sealed-attrs", "F-90"),
    (r"sealed-attrs-customer", "F-92"),
    (r"sealed-attrs-(?!customer)", "F-91"),
    (r"^(file|example-file)", "F-95"),
    (r"^(file|example-file)-1", "F-96"),
    (r"^file-bad", "F-99"),
    (r"wrapped-key", "F-98"),
    (r"^wrapped-key-bad", "F-99"),
    (r"bad-(.*-)?(trailing|length|count-less|zero-byte|one-byte-more|one-wrap)", "F-05"),
]


def shown_by(name):
    found = {rule for pattern, rules in SHOWN if re.search(pattern, name) for rule in rules.split()}
    assert found, name
    return " ".join(sorted(found))
