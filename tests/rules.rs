//! Every rule of `docs/FORMAT.md` is cited where the code implements it and where a test shows it, and no
//! other rule is cited anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_rule_is_cited_by_the_code_and_by_a_test() {
    let rules = rules_of_the_page();
    assert!(rules.len() > 80, "{rules:?}");
    let (code, tests) = citations();
    let missing = |cited: &Cited| -> Vec<&String> {
        rules
            .iter()
            .filter(|rule| !cited.contains_key(*rule))
            .collect()
    };
    assert_eq!(missing(&code), Vec::<&String>::new(), "cited by no code");
    assert_eq!(missing(&tests), Vec::<&String>::new(), "cited by no test");
    for (rule, files) in code.iter().chain(&tests) {
        assert!(rules.contains(rule), "{rule} does not exist; {files:?}");
    }
}

fn rules_of_the_page() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/FORMAT.md")).expect("readable");
    let mut rules = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("**F-")) {
        let number: String = line.chars().take_while(char::is_ascii_digit).collect();
        assert!(rules.insert(format!("F-{number}")), "F-{number} twice");
    }
    rules
}

type Cited = BTreeMap<String, BTreeSet<PathBuf>>;

/// Who cites what: the product's code, and the tests. The toy twin and the Python writer cite rules too, being
/// implementations; that shows nothing about ours, so they count for neither.
fn citations() -> (Cited, Cited) {
    let (mut code, mut tests) = (Cited::new(), Cited::new());
    for dir in ["src", "server/src"] {
        for path in files(&root().join(dir), "rs") {
            let text = fs::read_to_string(&path).expect("readable");
            let of_tests = path
                .components()
                .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
            let (product, test) = match text.split_once("#[cfg(test)]\nmod tests {") {
                _ if of_tests => ("", &*text),
                Some((product, test)) => (product, test),
                None => (&*text, ""),
            };
            cite(&mut code, &path, product);
            cite(&mut tests, &path, test);
        }
    }
    let tests_dir = root().join("tests");
    let twin = tests_dir.join("twin");
    let in_rust = files(&tests_dir, "rs").into_iter();
    let in_vectors = files(&tests_dir.join("vectors"), "vec").into_iter();
    let of_daemon = files(&root().join("server/tests"), "rs").into_iter();
    for path in in_rust.chain(in_vectors).chain(of_daemon) {
        if !path.starts_with(&twin) {
            let text = fs::read_to_string(&path).expect("readable");
            cite(&mut tests, &path, &text);
        }
    }
    (code, tests)
}

fn cite(cited: &mut Cited, path: &Path, text: &str) {
    for after in text.split("F-").skip(1) {
        let number: String = after.chars().take_while(char::is_ascii_digit).collect();
        if number.len() == 2 {
            let files = cited.entry(format!("F-{number}")).or_default();
            files.insert(path.to_owned());
        }
    }
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else {
        return found;
    };
    for path in entries.map(|entry| entry.expect("readable").path()) {
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|ext| ext == extension) {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
