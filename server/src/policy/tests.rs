//! The evaluator against tables of the AWS grammar, against a second evaluator that works on the
//! JSON as it stands, and against what must always hold.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

mod second;

/// A request of a test: values by the name of their key.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts(BTreeMap<String, Vec<String>>);

impl Facts {
    pub(super) fn with(mut self, key: &str, values: &[&str]) -> Facts {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.0.insert(key.to_owned(), values);
        self
    }
}

impl Context for Facts {
    fn values(&self, key: &Key) -> Values {
        let found = self
            .0
            .iter()
            .find(|(name, _)| Key::parse(name).as_ref() == Some(key));
        Values::Known(found.map(|(_, values)| values.clone()).unwrap_or_default())
    }
}

fn user(name: &str, account: &str) -> Caller {
    Caller::User(Arc::new(Identity {
        name: name.into(),
        account: account.into(),
        account_id: format!("{:0>12}", account.bytes().map(u32::from).sum::<u32>()),
        canonical: format!("{account:0>64}"),
        display_name: account.into(),
    }))
}

const OWNER: [&str; 2] = ["owner", "000000000555"];

fn object(key: &str) -> Resource<'_> {
    Resource::Object {
        bucket: "papers",
        key,
        owner: OWNER,
    }
}

const BUCKET: Resource<'static> = Resource::Bucket {
    bucket: "papers",
    owner: OWNER,
};

fn compile(document: &Value) -> Result<Policy, PolicyError> {
    Policy::for_bucket(document.to_string().as_bytes(), "papers")
}

fn decide(
    policy: &Policy,
    caller: &Caller,
    action: Action,
    on: Resource<'_>,
    facts: &Facts,
) -> Verdict {
    policy.decide(&Request {
        caller,
        action,
        resource: on,
        context: facts,
    })
}

/// One statement about everything, with one part replaced.
fn statement(changes: Value) -> Value {
    let mut statement = json!({
        "Effect": "Allow", "Principal": "*", "Action": "s3:*",
        "Resource": ["arn:aws:s3:::papers", "arn:aws:s3:::papers/*"],
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => statement.as_object_mut().unwrap().remove(name),
            value => statement
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    statement
}

fn document(changes: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [statement(changes)]})
}

/// Whether a statement with these changes matches a PUT of `papers/a` by a stranger.
fn holds(changes: Value, facts: &Facts) -> bool {
    let policy = compile(&document(changes)).unwrap();
    decide(
        &policy,
        &user("anna", "anna"),
        Action::PutObject,
        object("a"),
        facts,
    ) != Verdict::None
}

#[test]
fn what_the_grammar_does_not_know_is_refused_and_the_statement_named() {
    let long = "x".repeat(LARGEST);
    for (changes, expected) in [
        (
            json!({"Conditions": {"Bool": {"aws:SecureTransport": "true"}}}),
            "unknown field `Conditions`",
        ),
        (
            json!({"Condition": {"StringEqual": {"s3:prefix": "a"}}}),
            "unknown condition operator `StringEqual`",
        ),
        (
            json!({"Condition": {"NullIfExists": {"s3:prefix": "true"}}}),
            "unknown condition operator",
        ),
        (
            json!({"Condition": {"ForSomeValue:StringEquals": {"s3:prefix": "a"}}}),
            "unknown condition operator",
        ),
        (
            json!({"Condition": {"StringEquals": {"s3:x-amz-sse": "a"}}}),
            "unknown condition key `s3:x-amz-sse`",
        ),
        (
            json!({"Condition": {"StringEquals": {}}}),
            "without a condition key",
        ),
        (
            json!({"Condition": {"StringEquals": {"s3:prefix": []}}}),
            "empty list",
        ),
        (
            json!({"Condition": {"StringEquals": {"s3:prefix": {"a": "b"}}}}),
            "invalid type",
        ),
        (
            json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}}),
            "no value for this operator",
        ),
        (
            json!({"Condition": {"NumericEquals": {"s3:max-keys": "ten"}}}),
            "no value for this operator",
        ),
        (
            json!({"Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}),
            "no value for this operator",
        ),
        (
            json!({"Condition": {"Bool": {"aws:SecureTransport": "yes"}}}),
            "no value for this operator",
        ),
        (
            json!({"Condition": {"ArnEquals": {"aws:PrincipalArn": "anna"}}}),
            "is not an ARN",
        ),
        (
            json!({"Condition": {"StringEquals": {"s3:prefix": "${aws:user}"}}}),
            "unknown policy variable",
        ),
        (
            json!({"Action": "s3:PutObjct"}),
            "invalid action `s3:PutObjct`",
        ),
        (json!({"Action": "iam:*"}), "invalid action `iam:*`"),
        (json!({"Action": []}), "empty list"),
        (json!({"Action": null}), "Missing required field Action"),
        (json!({"NotAction": "s3:GetObject"}), "exclude each other"),
        (json!({"Resource": null}), "Missing required field Resource"),
        (
            json!({"Resource": "arn:aws:s3:::other/*"}),
            "is not of bucket `papers`",
        ),
        (json!({"Resource": "papers/*"}), "invalid resource"),
        (
            json!({"Action": "s3:PutObject", "Resource": "arn:aws:s3:::papers"}),
            "does not apply to any resource",
        ),
        (
            json!({"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::papers/*"}),
            "does not apply to any resource",
        ),
        (
            json!({"Principal": null}),
            "Missing required field Principal",
        ),
        (json!({"Principal": "anna"}), "Invalid principal"),
        (json!({"Principal": {}}), "Invalid principal"),
        (
            json!({"Principal": {"AWS": "arn:aws:iam::123456789012:user/*"}}),
            "Invalid principal",
        ),
        (json!({"Principal": {"Users": "anna"}}), "Invalid principal"),
        (
            json!({"Principal": null, "NotPrincipal": {"AWS": "anna"}}),
            "would let in everyone else",
        ),
        (json!({"Effect": "allow"}), "unknown variant `allow`"),
        (json!({"Effect": null}), "missing field `Effect`"),
        (json!({"Sid": 1}), "invalid type"),
        (json!({"Sid": long}), "exceeds the maximum"),
    ] {
        let error = compile(&document(changes.clone())).unwrap_err().0;
        assert!(error.contains(expected), "{changes}: {error}");
        assert!(
            error.contains("statement 0") || expected.contains("exceeds"),
            "{error}"
        );
    }
    for (text, expected) in [
        ("", "EOF"),
        ("[]", "invalid"),
        ("{\"Statement\": []}", "no statement"),
        (
            "{\"Version\": \"2012-10-18\", \"Statement\": []}",
            "unknown variant",
        ),
        (
            "{\"Version\": \"2012-10-17\", \"Statements\": []}",
            "unknown field",
        ),
        ("{\"Statement\": [], \"Statement\": []}", "duplicate field"),
        (
            r#"{"Statement": [{"Effect": "Deny", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}"#,
            "duplicate field",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
                "Condition": {"Null": {"s3:prefix": "true"}, "Null": {"s3:prefix": "false"}}}}"#,
            "`Null` stands twice",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*",
                "Condition": {"Null": {"s3:prefix": "true", "s3:prefix": "false"}}}}"#,
            "`s3:prefix` stands twice",
        ),
        (
            r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": null}}"#,
            "invalid type: null",
        ),
    ] {
        let error = Policy::for_bucket(text.as_bytes(), "papers").unwrap_err().0;
        assert!(error.contains(expected), "{text}: {error}");
    }
    let two = json!({"Statement": [statement(json!({})), statement(json!({"Action": "s3:X", "Sid": "second"}))]});
    assert!(
        compile(&two)
            .unwrap_err()
            .0
            .starts_with("statement 1 (second): ")
    );
}

#[test]
fn a_stored_document_that_is_not_understood_counts_against_the_caller() {
    let facts = Facts::default();
    let stored = |document: &Value| Policy::stored(document.to_string().as_bytes());
    let asks = |policy: &Policy| {
        decide(
            policy,
            &user("anna", "anna"),
            Action::PutObject,
            object("a"),
            &facts,
        )
    };
    for unknown in [
        json!({"Condition": {"StringAlmost": {"s3:prefix": "a"}}}),
        json!({"Condition": {"StringEquals": {"s3:tomorrow": "a"}}}),
        json!({"Action": "s3:PutObjectTomorrow"}),
        json!({"Principal": {"AWS": "arn:aws:sts::1:x"}}),
    ] {
        assert_eq!(
            asks(&stored(&document(unknown.clone()))),
            Verdict::None,
            "{unknown}"
        );
        let mut deny = unknown.clone();
        deny["Effect"] = json!("Deny");
        assert!(
            matches!(asks(&stored(&document(deny))), Verdict::Deny(_)),
            "{unknown}"
        );
    }
    for unreadable in [
        "",
        "{",
        "{\"Statement\": {\"Effect\": \"Allow\", \"Principals\": \"*\"}}",
    ] {
        let verdict = asks(&Policy::stored(unreadable.as_bytes()));
        assert!(matches!(verdict, Verdict::Deny(_)), "{unreadable}");
    }
    // A value of the request that is not of the operator's kind.
    let number = json!({"Condition": {"NumericLessThan": {"s3:max-keys": "10"}}});
    let odd = Facts::default().with("s3:max-keys", &["many"]);
    assert!(!holds(number.clone(), &odd));
    let mut deny = number;
    deny["Effect"] = json!("Deny");
    assert!(holds(deny, &odd));
}

#[test]
fn principals() {
    let anna = user("anna", "anna");
    let clerk = user("clerk", "anna");
    let id = "000000000414";
    for (principal, by_anna, by_clerk, by_nobody) in [
        (
            json!("*"),
            Some(Extent::Caller),
            Some(Extent::Caller),
            Some(Extent::Caller),
        ),
        (
            json!({"AWS": "*"}),
            Some(Extent::Caller),
            Some(Extent::Caller),
            Some(Extent::Caller),
        ),
        (json!({"AWS": "anna"}), Some(Extent::Caller), None, None),
        (
            json!({"AWS": ["bob", "arn:aws:iam:::user/anna"]}),
            Some(Extent::Caller),
            None,
            None,
        ),
        (
            json!({"AWS": format!("arn:aws:iam::{id}:user/clerk")}),
            None,
            Some(Extent::Caller),
            None,
        ),
        (
            json!({"AWS": "arn:aws:iam::anna:user/some/path/clerk"}),
            None,
            Some(Extent::Caller),
            None,
        ),
        (
            json!({"AWS": "arn:aws:iam::bob:user/clerk"}),
            None,
            None,
            None,
        ),
        (
            json!({"AWS": format!("arn:aws:iam::{id}:root")}),
            Some(Extent::Caller),
            Some(Extent::Account),
            None,
        ),
        (
            json!({"AWS": id}),
            Some(Extent::Caller),
            Some(Extent::Account),
            None,
        ),
        (
            json!({"AWS": [id, "clerk"]}),
            Some(Extent::Caller),
            Some(Extent::Caller),
            None,
        ),
        (
            json!({"CanonicalUser": format!("{:0>64}", "anna")}),
            Some(Extent::Caller),
            Some(Extent::Account),
            None,
        ),
        (
            json!({"Service": "logging.s3.amazonaws.com"}),
            None,
            None,
            None,
        ),
        (
            json!({"Federated": "accounts.example.com"}),
            None,
            None,
            None,
        ),
    ] {
        let policy = compile(&document(json!({"Principal": principal, "Sid": "it"}))).unwrap();
        for (caller, expected) in [
            (&anna, by_anna),
            (&clerk, by_clerk),
            (&Caller::Anonymous, by_nobody),
        ] {
            let verdict = decide(
                &policy,
                caller,
                Action::GetObject,
                object("a"),
                &Facts::default(),
            );
            let expected = match expected {
                Some(Extent::Caller) => Verdict::Allow("0 (it)".into()),
                Some(Extent::Account) => Verdict::Delegated("0 (it)".into()),
                None => Verdict::None,
            };
            assert_eq!(verdict, expected, "{principal} {caller:?}");
        }
    }
    let but = json!({"Effect": "Deny", "Principal": null, "NotPrincipal": {"AWS": format!("arn:aws:iam::{id}:root")}});
    let policy = compile(&document(but)).unwrap();
    for (caller, denied) in [
        (&anna, false),
        (&clerk, false),
        (&user("bob", "bob"), true),
        (&Caller::Anonymous, true),
    ] {
        let verdict = decide(
            &policy,
            caller,
            Action::GetObject,
            object("a"),
            &Facts::default(),
        );
        assert_eq!(matches!(verdict, Verdict::Deny(_)), denied, "{caller:?}");
    }
}

#[test]
fn actions_and_resources() {
    let facts = Facts::default();
    let anna = user("anna", "anna");
    for (changes, action, on, expected) in [
        (
            json!({"Action": "s3:getobject"}),
            Action::GetObject,
            object("a"),
            true,
        ),
        (
            json!({"Action": "s3:Get*"}),
            Action::GetObjectAcl,
            object("a"),
            true,
        ),
        (
            json!({"Action": "s3:GetObject"}),
            Action::GetObjectVersion,
            object("a"),
            false,
        ),
        (
            json!({"Action": "s3:GetObject?cl"}),
            Action::GetObjectAcl,
            object("a"),
            true,
        ),
        (json!({"Action": "*"}), Action::DeleteBucket, BUCKET, true),
        (
            json!({"Action": null, "NotAction": "s3:Get*"}),
            Action::GetObject,
            object("a"),
            false,
        ),
        (
            json!({"Action": null, "NotAction": "s3:Get*"}),
            Action::PutObject,
            object("a"),
            true,
        ),
        (
            json!({"Resource": "arn:aws:s3:::papers/a*"}),
            Action::GetObject,
            object("a/b/c"),
            true,
        ),
        (
            json!({"Resource": "arn:aws:s3:::papers/a?"}),
            Action::GetObject,
            object("a/b"),
            false,
        ),
        (
            json!({"Resource": "arn:aws:s3:::papers/*"}),
            Action::ListBucket,
            BUCKET,
            false,
        ),
        (
            json!({"Resource": "arn:aws:s3:::papers*"}),
            Action::ListBucket,
            BUCKET,
            true,
        ),
        (
            json!({"Resource": "arn:aws:s3:::*"}),
            Action::GetObject,
            object("x"),
            true,
        ),
        (
            json!({"Resource": "*"}),
            Action::GetObject,
            object("x"),
            true,
        ),
        (
            json!({"Resource": "arn:aws:s3::*:papers/*"}),
            Action::GetObject,
            object("x"),
            true,
        ),
        (
            json!({"Resource": "arn:aws:s3::owner:papers/*"}),
            Action::GetObject,
            object("x"),
            true,
        ),
        (
            json!({"Resource": "arn:aws:s3::bob:papers/*"}),
            Action::GetObject,
            object("x"),
            false,
        ),
        (
            json!({"Resource": null, "NotResource": "arn:aws:s3:::papers/a*"}),
            Action::GetObject,
            object("ab"),
            false,
        ),
        (
            json!({"Resource": null, "NotResource": "arn:aws:s3:::papers/a*"}),
            Action::GetObject,
            object("b"),
            true,
        ),
        (
            json!({"Resource": "arn:aws:s3:::papers/${aws:username}/*"}),
            Action::GetObject,
            object("anna/x"),
            false,
        ),
    ] {
        let policy = compile(&document(changes.clone())).unwrap();
        let verdict = decide(&policy, &anna, action, on, &facts);
        assert_eq!(
            verdict != Verdict::None,
            expected,
            "{changes} {action:?} {on:?}"
        );
    }
    let home = compile(&document(
        json!({"Resource": "arn:aws:s3:::papers/${aws:username}/*"}),
    ))
    .unwrap();
    let facts = facts.with("aws:username", &["anna"]);
    assert_ne!(
        decide(&home, &anna, Action::GetObject, object("anna/x"), &facts),
        Verdict::None
    );
    assert_eq!(
        decide(&home, &anna, Action::GetObject, object("bob/x"), &facts),
        Verdict::None
    );
}

/// Operator, key, values of the policy; values of the request; whether it holds.
#[test]
fn condition_operators() {
    let rows: &[(&str, &str, Value, &[&str], bool)] = &[
        (
            "StringEquals",
            "s3:x-amz-acl",
            json!("private"),
            &["private"],
            true,
        ),
        (
            "StringEquals",
            "s3:x-amz-acl",
            json!(["public-read", "private"]),
            &["private"],
            true,
        ),
        (
            "StringEquals",
            "S3:X-Amz-Acl",
            json!("private"),
            &["private"],
            true,
        ),
        (
            "StringEquals",
            "s3:x-amz-acl",
            json!("private"),
            &["Private"],
            false,
        ),
        (
            "StringEquals",
            "s3:x-amz-acl",
            json!("p*"),
            &["private"],
            false,
        ),
        ("StringEquals", "s3:x-amz-acl", json!("private"), &[], false),
        (
            "StringEqualsIfExists",
            "s3:x-amz-acl",
            json!("private"),
            &[],
            true,
        ),
        (
            "StringEqualsIfExists",
            "s3:x-amz-acl",
            json!("private"),
            &["x"],
            false,
        ),
        (
            "StringEqualsIgnoreCase",
            "s3:x-amz-acl",
            json!("PRIvate"),
            &["privATE"],
            true,
        ),
        (
            "StringNotEqualsIgnoreCase",
            "s3:x-amz-acl",
            json!("PRIvate"),
            &["privATE"],
            false,
        ),
        (
            "StringNotEquals",
            "s3:x-amz-acl",
            json!("private"),
            &["x"],
            true,
        ),
        (
            "StringNotEquals",
            "s3:x-amz-acl",
            json!(["x", "private"]),
            &["x"],
            false,
        ),
        (
            "StringNotEquals",
            "s3:x-amz-acl",
            json!("private"),
            &[],
            true,
        ),
        (
            "StringNotEqualsIfExists",
            "s3:x-amz-acl",
            json!("private"),
            &[],
            true,
        ),
        (
            "StringLike",
            "s3:prefix",
            json!("home/*"),
            &["home/anna/"],
            true,
        ),
        (
            "StringNotLike",
            "s3:prefix",
            json!("home/*"),
            &["home/anna/"],
            false,
        ),
        (
            "StringLikeIfExists",
            "aws:Referer",
            json!("http://www.example.com/*"),
            &[],
            true,
        ),
        ("NumericEquals", "s3:max-keys", json!(10), &["10"], true),
        ("NumericEquals", "s3:max-keys", json!("10"), &["10.0"], true),
        (
            "NumericNotEquals",
            "s3:max-keys",
            json!("10"),
            &["11"],
            true,
        ),
        ("NumericLessThan", "s3:max-keys", json!("10"), &["9"], true),
        (
            "NumericLessThanEquals",
            "s3:max-keys",
            json!("10"),
            &["10"],
            true,
        ),
        (
            "NumericGreaterThan",
            "s3:max-keys",
            json!("10"),
            &["10"],
            false,
        ),
        (
            "NumericGreaterThanEquals",
            "s3:max-keys",
            json!("10"),
            &["10"],
            true,
        ),
        (
            "NumericLessThanEquals",
            "s3:max-keys",
            json!("10"),
            &[],
            false,
        ),
        (
            "DateLessThan",
            "aws:CurrentTime",
            json!("2030-01-01T00:00:00Z"),
            &["2026-11-22T04:00:00Z"],
            true,
        ),
        (
            "DateGreaterThan",
            "aws:CurrentTime",
            json!("2030-01-01"),
            &["2026-11-22T04:00:00Z"],
            false,
        ),
        (
            "DateEquals",
            "aws:CurrentTime",
            json!("2026-11-22T05:00:00+01:00"),
            &["2026-11-22T04:00:00Z"],
            true,
        ),
        (
            "DateNotEquals",
            "aws:CurrentTime",
            json!("2026-11-22"),
            &["2026-11-22T00:00:00Z"],
            false,
        ),
        (
            "DateLessThanEquals",
            "aws:EpochTime",
            json!("1700000000"),
            &["1700000000"],
            true,
        ),
        (
            "DateGreaterThanEquals",
            "aws:EpochTime",
            json!(1_700_000_001),
            &["1700000000"],
            false,
        ),
        (
            "Bool",
            "aws:SecureTransport",
            json!("false"),
            &["false"],
            true,
        ),
        (
            "Bool",
            "aws:SecureTransport",
            json!(false),
            &["true"],
            false,
        ),
        ("Bool", "aws:SecureTransport", json!(false), &[], false),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("192.0.2.0/24"),
            &["192.0.2.99"],
            true,
        ),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("192.0.2.0/24"),
            &["192.0.3.1"],
            false,
        ),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("192.0.2.1"),
            &["192.0.2.1"],
            true,
        ),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("0.0.0.0/0"),
            &["192.0.2.1"],
            true,
        ),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("0.0.0.0/0"),
            &["2001:db8::1"],
            false,
        ),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("2001:db8::/32"),
            &["2001:db8:1::1"],
            true,
        ),
        (
            "IpAddress",
            "aws:SourceIp",
            json!("192.0.2.0/24"),
            &["::ffff:192.0.2.7"],
            true,
        ),
        (
            "NotIpAddress",
            "aws:SourceIp",
            json!(["192.0.2.0/24", "::/0"]),
            &["198.51.100.1"],
            true,
        ),
        (
            "ArnEquals",
            "aws:PrincipalArn",
            json!("arn:aws:iam::*:user/anna"),
            &["arn:aws:iam::1:user/anna"],
            true,
        ),
        (
            "ArnLike",
            "aws:PrincipalArn",
            json!("arn:aws:iam::1:*"),
            &["arn:aws:iam::2:user/anna"],
            false,
        ),
        (
            "ArnNotLike",
            "aws:PrincipalArn",
            json!("arn:aws:iam::1:*"),
            &["arn:aws:iam::2:user/anna"],
            true,
        ),
        (
            "ArnNotEquals",
            "aws:PrincipalArn",
            json!("arn:aws:iam::1:user/a"),
            &["arn:aws:iam::1:user/a"],
            false,
        ),
        // A star does not reach over a colon.
        (
            "ArnLike",
            "aws:PrincipalArn",
            json!("arn:*:::1:user/anna"),
            &["arn:aws:iam::1:user/anna"],
            false,
        ),
        (
            "Null",
            "s3:x-amz-server-side-encryption",
            json!("true"),
            &[],
            true,
        ),
        (
            "Null",
            "s3:x-amz-server-side-encryption",
            json!(true),
            &["AES256"],
            false,
        ),
        (
            "Null",
            "s3:x-amz-server-side-encryption",
            json!("false"),
            &["AES256"],
            true,
        ),
        ("Null", "aws:SourceVpce", json!("true"), &[], true),
        (
            "BinaryEquals",
            "s3:x-amz-content-sha256",
            json!("abc"),
            &["abc"],
            true,
        ),
        (
            "ForAllValues:StringEquals",
            "s3:RequestObjectTagKeys",
            json!(["a", "b"]),
            &["b", "a"],
            true,
        ),
        (
            "ForAllValues:StringEquals",
            "s3:RequestObjectTagKeys",
            json!(["a", "b"]),
            &["b", "c"],
            false,
        ),
        (
            "ForAllValues:StringEquals",
            "s3:RequestObjectTagKeys",
            json!(["a", "b"]),
            &[],
            true,
        ),
        (
            "ForAnyValue:StringEquals",
            "s3:RequestObjectTagKeys",
            json!(["a", "b"]),
            &["b", "c"],
            true,
        ),
        (
            "ForAnyValue:StringEquals",
            "s3:RequestObjectTagKeys",
            json!(["a", "b"]),
            &["c"],
            false,
        ),
        (
            "ForAnyValue:StringEquals",
            "s3:RequestObjectTagKeys",
            json!(["a", "b"]),
            &[],
            false,
        ),
        (
            "ForAnyValue:StringEqualsIfExists",
            "s3:RequestObjectTagKeys",
            json!(["a"]),
            &[],
            true,
        ),
        (
            "ForAnyValue:StringNotEquals",
            "s3:RequestObjectTagKeys",
            json!(["a", "b"]),
            &["b", "c"],
            true,
        ),
        (
            "ForAllValues:StringNotLike",
            "s3:RequestObjectTagKeys",
            json!("x*"),
            &["a", "b"],
            true,
        ),
        (
            "ForAllValues:StringNotLike",
            "s3:RequestObjectTagKeys",
            json!("x*"),
            &["a", "xb"],
            false,
        ),
        (
            "StringEquals",
            "s3:ExistingObjectTag/Colour",
            json!("blue"),
            &["blue"],
            true,
        ),
        (
            "StringEquals",
            "s3:RequestObjectTag/Colour",
            json!("blue"),
            &["red"],
            false,
        ),
    ];
    for (operator, key, values, request, expected) in rows {
        let facts = Facts::default().with(key, request);
        let condition = json!({"Condition": {*operator: {*key: values}}});
        assert_eq!(
            holds(condition, &facts),
            *expected,
            "{operator} {key} {values} {request:?}"
        );
    }
}

#[test]
fn several_keys_and_operators_must_all_hold() {
    let condition = json!({"Condition": {
        "StringEquals": {"s3:x-amz-acl": "private", "s3:prefix": "a"},
        "Bool": {"aws:SecureTransport": "true"},
    }});
    let all = Facts::default()
        .with("s3:x-amz-acl", &["private"])
        .with("s3:prefix", &["a"])
        .with("aws:SecureTransport", &["true"]);
    assert!(holds(condition.clone(), &all));
    for missing in ["s3:x-amz-acl", "s3:prefix", "aws:SecureTransport"] {
        assert!(
            !holds(condition.clone(), &all.clone().with(missing, &[])),
            "{missing}"
        );
    }
}

/// The policies of the user guide that mandate and forbid encryption: they see what the request
/// asks for and not what the bucket's default adds.
#[test]
fn encryption_is_mandated_and_forbidden_by_the_request_header() {
    const SSE: &str = "s3:x-amz-server-side-encryption";
    const CUSTOMER: &str = "s3:x-amz-server-side-encryption-customer-algorithm";
    let deny = |condition: Value| json!({"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::papers/*", "Condition": condition});
    let (default, managed, customer) = (
        Facts::default(),
        Facts::default().with(SSE, &["AES256"]),
        Facts::default().with(CUSTOMER, &["AES256"]),
    );
    for (condition, denied) in [
        (json!({"Null": {SSE: "true"}}), [true, false, true]),
        (
            json!({"StringNotEquals": {SSE: "AES256"}}),
            [true, false, true],
        ),
        (
            json!({"StringNotEqualsIfExists": {SSE: "aws:kms"}}),
            [true, true, true],
        ),
        (json!({"Null": {CUSTOMER: "true"}}), [true, true, false]),
        (json!({"Null": {CUSTOMER: "false"}}), [false, false, true]),
        (json!({"Null": {SSE: "false"}}), [false, true, false]),
    ] {
        for (facts, denied) in [&default, &managed, &customer].into_iter().zip(denied) {
            assert_eq!(
                holds(deny(condition.clone()), facts),
                denied,
                "{condition} {facts:?}"
            );
        }
    }
}

/// The encryption of an upload's parts was decided when it was created.
#[test]
fn settled_keys_neither_deny_nor_stand_in_the_way() {
    struct Part;
    impl Context for Part {
        fn values(&self, key: &Key) -> Values {
            match key {
                Key::Sse => Values::Settled,
                _ => Values::ABSENT,
            }
        }
    }
    for (effect, expected) in [
        ("Allow", Verdict::Allow("0".into())),
        ("Deny", Verdict::None),
    ] {
        let condition = json!({"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}});
        let policy = compile(&document(json!({"Effect": effect, "Condition": condition}))).unwrap();
        let verdict = policy.decide(&Request {
            caller: &Caller::Anonymous,
            action: Action::PutObject,
            resource: object("a"),
            context: &Part,
        });
        assert_eq!(verdict, expected);
    }
}

#[test]
fn public_is_an_allow_for_everyone_that_nothing_holds_to_a_fixed_set() {
    for (changes, public) in [
        (json!({}), true),
        (json!({"Effect": "Deny"}), false),
        (json!({"Principal": {"AWS": "anna"}}), false),
        (
            json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}),
            false,
        ),
        (
            json!({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}),
            true,
        ),
        (
            json!({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}),
            true,
        ),
        (
            json!({"Condition": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}}),
            true,
        ),
        (
            json!({"Condition": {"StringEquals": {"aws:PrincipalAccount": "000000000414"}}}),
            false,
        ),
        (
            json!({"Condition": {"StringLike": {"aws:PrincipalAccount": "*"}}}),
            true,
        ),
        (
            json!({"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}}),
            false,
        ),
        (
            json!({"Condition": {"StringLike": {"aws:Referer": "http://example.com/"}}}),
            true,
        ),
    ] {
        assert_eq!(
            compile(&document(changes.clone())).unwrap().is_public(),
            public,
            "{changes}"
        );
    }
}

#[test]
fn the_policy_of_a_user_has_no_principal() {
    let own = json!({"Statement": [statement(json!({"Principal": null, "Resource": "arn:aws:s3:::any*/*"}))]});
    let policy = Policy::for_user(own.to_string().as_bytes()).unwrap();
    assert_eq!(
        decide(
            &policy,
            &user("x", "x"),
            Action::GetObject,
            Resource::Object {
                bucket: "anything",
                key: "k",
                owner: OWNER
            },
            &Facts::default()
        ),
        Verdict::Allow("0".into())
    );
    let with = json!({"Statement": [statement(json!({}))]});
    assert!(
        Policy::for_user(with.to_string().as_bytes())
            .unwrap_err()
            .0
            .contains("no Principal")
    );
}
