//! The house rules that a compiler does not check: who may import whom, where unsafe code may stand,
//! and which words the library does not know.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the library and the modules it may name. Arrows point down only.
const ARROWS: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("secret", &[]),
    ("cipher", &["secret"]),
    ("format", &["cipher", "secret", "id"]),
    ("audit", &["id"]),
    ("keys", &["audit", "cipher", "format", "secret", "id"]),
    ("hsm", &["keys", "secret", "id"]),
    (
        "object",
        &["format", "keys", "cipher", "secret", "audit", "id"],
    ),
    ("store", &["id"]),
    (
        "envelope",
        &["object", "audit", "format", "keys", "secret", "id"],
    ),
    (
        "vault",
        &["object", "store", "audit", "format", "keys", "secret", "id"],
    ),
];

/// The addresses of unsafe code: kernels, locked pages, and the PKCS#11 calls. In the
/// daemon: the allocator that wipes what it frees.
const MAY_BE_UNSAFE: &[&str] = &[
    "src/cipher/wiped.rs",
    "src/cipher/x86/",
    "src/secret",
    "src/hsm/module.rs",
    "server/src/alloc.rs",
];

/// Words of the daemon's world, and crates that must not come in below it.
const NOT_IN_THE_LIBRARY: &[&str] = &[
    "s3s", "hyper", "tokio", "async fn", ".await", "http::", "rustls",
];

/// What only x86-64 knows.
const X86_WORDS: &[&str] = &[
    "arch::x86",
    "x86::",
    "mod x86",
    "is_x86_feature_detected",
    "asm!",
    "_mm_",
    "_mm256_",
    "_mm512_",
];

#[test]
fn arrows_point_down_only() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut broken = Vec::new();
    for (path, code) in library_code() {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let may = allowed
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{module}: not in the table of layers"));
        for named in named_modules(&code) {
            if named != module
                && allowed.contains_key(named.as_str())
                && !may.contains(&named.as_str())
            {
                broken.push(format!("{}: {module} names {named}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_the_stores_hold_is_opaque_to_them() {
    for (path, code) in library_code() {
        if module_of(&path) == "store" {
            for word in ["crate::secret", "crate::cipher", "crate::keys"] {
                assert!(!code.contains(word), "{}: names {word}", path.display());
            }
        }
    }
}

#[test]
fn unsafe_code_stands_at_its_addresses_only() {
    let mut unused = MAY_BE_UNSAFE.to_vec();
    let root = root();
    let files = rust_files(&root.join("src"))
        .into_iter()
        .chain(rust_files(&root.join("server/src")));
    for path in files {
        let code = code_of(&fs::read_to_string(&path).expect("readable source"));
        let relative = path
            .strip_prefix(&root)
            .expect("below the root")
            .to_string_lossy()
            .into_owned();
        let is_unsafe = code.lines().any(|line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "unsafe")
        });
        if !is_unsafe {
            continue;
        }
        let address = MAY_BE_UNSAFE
            .iter()
            .find(|address| relative.starts_with(**address))
            .unwrap_or_else(|| panic!("{relative}: unsafe code outside its addresses"));
        unused.retain(|other| other != address);
    }
    assert!(unused.is_empty(), "no unsafe code there: {unused:?}");
}

#[test]
fn the_library_knows_no_http_and_waits_for_no_network() {
    for (path, code) in library_code() {
        for word in NOT_IN_THE_LIBRARY {
            assert!(!code.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn files_are_of_a_length_that_someone_reads() {
    for (path, _) in library_code() {
        let lines = fs::read_to_string(&path)
            .expect("readable source")
            .lines()
            .count();
        assert!(
            lines <= 900,
            "{}: {lines} lines: one idea a file",
            path.display()
        );
    }
}

/// So that the library builds for other CPUs: what belongs to x86-64 stands in its own directory,
/// and is named elsewhere only behind a `cfg`.
#[test]
fn no_code_assumes_a_cpu() {
    let mut guarded = 0;
    for (path, code) in library_code() {
        if path.starts_with(root().join("src/cipher/x86")) {
            continue;
        }
        let (left, taken) = without_x86_items(&code);
        guarded += taken;
        for word in X86_WORDS {
            assert!(
                !left.contains(word),
                "{}: {word} without cfg",
                path.display()
            );
        }
    }
    assert!(guarded >= 10, "control: only {guarded} guarded items");
    let (left, taken) = without_x86_items(
        "a();\n#[cfg(target_arch = \"x86_64\")]\nfn f() {\n  if x {\n    asm!();\n  }\n}\nb();",
    );
    assert_eq!((left.as_str(), taken), ("a();\nb();\n", 1));
}

/// The code without what stands behind `#[cfg(target_arch = "x86_64")]`, and how often that was.
fn without_x86_items(code: &str) -> (String, usize) {
    let (mut left, mut taken) = (String::new(), 0);
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(")
            || !line.contains("target_arch = \"x86")
            || line.contains("not(")
        {
            left.push_str(line);
            left.push('\n');
            continue;
        }
        taken += 1;
        // An item, a statement or an arm ends where its brackets are closed again.
        let mut depth = 0_isize;
        for line in lines.by_ref() {
            let count = |brackets: [char; 3]| line.chars().filter(|c| brackets.contains(c)).count();
            depth += count(['(', '[', '{']).cast_signed() - count([')', ']', '}']).cast_signed();
            let ends = line.trim_end().ends_with([';', ',', '}']);
            if depth <= 0 && ends {
                break;
            }
        }
    }
    (left, taken)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The library's sources without comments and without their test modules.
fn library_code() -> Vec<(PathBuf, String)> {
    rust_files(&root().join("src"))
        .into_iter()
        .map(|path| {
            let code = code_of(&fs::read_to_string(&path).expect("readable source"));
            (path, code)
        })
        .collect()
}

fn code_of(source: &str) -> String {
    let product = source.split("#[cfg(test)]\nmod ").next().unwrap_or(source);
    product
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("readable directory") {
        let path = entry.expect("directory entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    files
}

/// `src/keys/record.rs` and `src/keys.rs` belong to `keys`.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).expect("below src");
    let first = relative
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Every `name` of a `crate::name` in the code, also in a braced list of one `use`.
fn named_modules(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let list = list.split(';').next().unwrap_or(list);
            named.extend(list.split([',', '{', '}']).map(first_word));
        } else {
            named.push(first_word(rest));
        }
    }
    named
}

fn first_word(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}
