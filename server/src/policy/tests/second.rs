//! A second evaluator, on the JSON as it stands: slow, and as near to the words of the user guide as
//! it gets. It knows a part of the language; on that part both must decide alike.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn expected(
    document: &Value,
    name: Option<&str>,
    action: &str,
    resource: &str,
    facts: &Facts,
) -> &'static str {
    let mut allowed = false;
    for statement in document["Statement"].as_array().unwrap() {
        if !applies(statement, name, action, resource, facts) {
            continue;
        }
        if statement["Effect"] == "Deny" {
            return "deny";
        }
        allowed = true;
    }
    if allowed { "allow" } else { "none" }
}

fn applies(
    statement: &Value,
    name: Option<&str>,
    action: &str,
    resource: &str,
    facts: &Facts,
) -> bool {
    let listed = |element: &str, test: &dyn Fn(&str) -> bool| {
        let texts = match &statement[element] {
            Value::String(one) => vec![one.clone()],
            Value::Array(many) => many
                .iter()
                .map(|one| one.as_str().unwrap().to_owned())
                .collect(),
            _ => return None,
        };
        Some(texts.iter().any(|text| test(text)))
    };
    let about_action =
        |text: &str| like(&text.to_lowercase(), &format!("s3:{action}").to_lowercase());
    let about_resource = |text: &str| like(text, &format!("arn:aws:s3:::{resource}"));
    let is = |principal: &Value| match (principal, name) {
        (Value::String(_), _) => true,
        (one, Some(name)) => one["AWS"] == name,
        (_, None) => false,
    };
    let who = match (&statement["Principal"], &statement["NotPrincipal"]) {
        (Value::Null, not) => !is(not),
        (these, _) => is(these),
    };
    who && listed("Action", &about_action)
        .unwrap_or_else(|| !listed("NotAction", &about_action).unwrap())
        && listed("Resource", &about_resource)
            .unwrap_or_else(|| !listed("NotResource", &about_resource).unwrap())
        && statement["Condition"].as_object().is_none_or(|operators| {
            operators.iter().all(|(operator, keys)| {
                keys.as_object().unwrap().iter().all(|(key, wanted)| {
                    let has = facts.0.get(key).and_then(|values| values.first());
                    let wanted = wanted.as_str().unwrap();
                    match (operator.as_str(), has) {
                        ("Null", has) => (wanted == "true") == has.is_none(),
                        ("StringEquals", has) => has.is_some_and(|has| has == wanted),
                        ("StringEqualsIfExists", has) => has.is_none_or(|has| has == wanted),
                        ("StringNotEquals", has) => has.is_none_or(|has| has != wanted),
                        ("StringLike", has) => has.is_some_and(|has| like(wanted, has)),
                        ("StringNotLike", has) => has.is_none_or(|has| !like(wanted, has)),
                        other => panic!("{other:?}"),
                    }
                })
            })
        })
}

fn like(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => (0..=text.len()).any(|at| like(&pattern[1..], &text[at..])),
        Some(c) => text.starts_with(|t| c == '?' || c == t) && like(&pattern[1..], &text[1..]),
    }
}

fn any_statement() -> impl Strategy<Value = Value> {
    let who = prop_oneof![
        Just(json!({"Principal": "*"})),
        Just(json!({"Principal": {"AWS": "anna"}})),
        Just(json!({"Principal": {"AWS": "bob"}})),
        Just(json!({"NotPrincipal": {"AWS": "anna"}, "Effect": "Deny"})),
    ];
    let texts = |texts: Vec<&'static str>| prop::collection::vec(prop::sample::select(texts), 1..3);
    let actions = texts(vec![
        "s3:*",
        "s3:Get*",
        "S3:getObject",
        "s3:PutObject",
        "s3:?utObject",
    ]);
    let resources = texts(vec![
        "arn:aws:s3:::papers/*",
        "arn:aws:s3:::papers/a*",
        "arn:aws:s3:::papers/?",
        "arn:aws:s3:::*",
        "arn:aws:s3:::papers/ab",
    ]);
    let operator = prop::sample::select(vec![
        "StringEquals",
        "StringEqualsIfExists",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
    ]);
    let key = prop::sample::select(vec!["s3:x-amz-acl", "s3:prefix"]);
    let value = prop::sample::select(vec!["a", "b", "*", "a*"]);
    let condition = prop_oneof![
        Just(json!({})),
        (operator, key.clone(), value)
            .prop_map(|(operator, key, value)| json!({operator: {key: value}})),
        (key, any::<bool>()).prop_map(|(key, absent)| json!({"Null": {key: absent.to_string()}})),
    ];
    let effect = prop::sample::select(vec!["Allow", "Deny"]);
    (
        who,
        actions,
        resources,
        condition,
        effect,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(who, actions, resources, condition, effect, not_action, not_resource)| {
                let mut statement = json!({"Effect": effect, "Condition": condition});
                statement[if not_action { "NotAction" } else { "Action" }] = json!(actions);
                statement[if not_resource {
                    "NotResource"
                } else {
                    "Resource"
                }] = json!(resources);
                for (name, value) in who.as_object().unwrap() {
                    statement[name] = value.clone();
                }
                statement
            },
        )
}

proptest! {
    #[test]
    fn a_second_evaluator_decides_the_same(
        statements in prop::collection::vec(any_statement(), 1..4),
        name in prop::sample::select(vec![None, Some("anna"), Some("bob"), Some("carl")]),
        action in prop::sample::select(vec![Action::GetObject, Action::PutObject, Action::GetObjectAcl]),
        key in "[ab]{1,2}",
        acl in prop::sample::select(vec![None, Some("a"), Some("ab"), Some("b")]),
        prefix in prop::sample::select(vec![None, Some("a")]),
    ) {
        let document = json!({"Version": "2012-10-17", "Statement": statements});
        let policy = compile(&document).unwrap();
        let mut facts = Facts::default();
        for (key, value) in [("s3:x-amz-acl", acl), ("s3:prefix", prefix)] {
            if let Some(value) = value {
                facts = facts.with(key, &[value]);
            }
        }
        let caller = name.map_or(Caller::Anonymous, |name| user(name, name));
        let verdict = match decide(&policy, &caller, action, object(&key), &facts) {
            Verdict::Deny(_) => "deny",
            Verdict::Allow(_) => "allow",
            Verdict::Delegated(_) => "delegated",
            Verdict::None => "none",
        };
        let expected = expected(&document, name, action.name(), &format!("papers/{key}"), &facts);
        prop_assert_eq!(verdict, expected, "{}", document);
    }

    /// Order does not matter, and a statement more never turns a `Deny` into anything else.
    #[test]
    fn denies_are_final_and_order_is_nothing(
        statements in prop::collection::vec(any_statement(), 1..5),
        more in any_statement(),
    ) {
        let facts = Facts::default().with("s3:x-amz-acl", &["a"]);
        let kind = |statements: &[Value]| {
            let policy = compile(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap();
            std::mem::discriminant(&decide(&policy, &user("anna", "anna"), Action::GetObject, object("ab"), &facts))
        };
        let forward = kind(&statements);
        let backward: Vec<Value> = statements.iter().rev().cloned().collect();
        prop_assert_eq!(forward, kind(&backward));
        let deny = std::mem::discriminant(&Verdict::Deny(String::new()));
        if forward == deny {
            let mut longer = statements.clone();
            longer.push(more);
            prop_assert_eq!(kind(&longer), deny);
        }
    }

    /// Whatever stands in a store, compiling and deciding it ends, and bytes that are no policy
    /// let nobody in.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,100}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let refused = Policy::for_bucket(bytes, "papers").is_err();
            let verdict = decide(&Policy::stored(bytes), &Caller::Anonymous, Action::GetObject, object("a"), &Facts::default());
            prop_assert!(!refused || matches!(verdict, Verdict::Deny(_)));
        }
    }
}
