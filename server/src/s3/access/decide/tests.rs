//! Decisions as a table: who, on a bucket with which rules, for what, gets which answer.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::path::Path;

use http::Uri;
use serde_json::json;

use super::super::asks::Asks;
use super::super::principal::ByObject;
use super::*;
use crate::s3::testing;

const USERS: &str = "
[[user]]
name = 'main'
access_key = 'MAIN'
secret_key = '0123456789abcdef'
[[user]]
name = 'alt'
access_key = 'ALT'
secret_key = '0123456789abcdef'
[[user]]
name = 'clerk'
account = 'main'
access_key = 'CLERK'
secret_key = '0123456789abcdef'
[[user]]
name = 'reader'
account = 'main'
access_key = 'READER'
secret_key = '0123456789abcdef'
policy = '''{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"s3:Get*\", \"Resource\": \"*\"}}'''
[[user]]
name = 'altreader'
account = 'alt'
access_key = 'ALTREADER'
secret_key = '0123456789abcdef'
policy = '''{\"Statement\": {\"Effect\": \"Allow\", \"Action\": \"s3:Get*\", \"Resource\": \"*\"}}'''
[[user]]
name = 'operator'
admin = true
access_key = 'OPERATOR'
secret_key = '0123456789abcdef'
";

const MAIN: u8 = 1;
const ALT: u8 = 2;
const CLERK: u8 = 4;
const READER: u8 = 8;
const ALT_READER: u8 = 16;
const OPERATOR: u8 = 32;
const NOBODY: u8 = 64;
const ALL: u8 = 127;

struct Bench {
    users: Arc<Users>,
    ground: Ground,
}

impl Bench {
    /// A bucket of main's with these rules.
    fn new(rules: serde_json::Value) -> Bench {
        let users = Arc::new(Users::parse(USERS, Path::new("users.toml")).unwrap());
        let rules: Rules = serde_json::from_value(rules).unwrap();
        Bench {
            ground: Ground {
                owner: users.account("main"),
                at: At::of_test(testing::bucket("papers", "main")),
                rules: Some(Arc::new(rules)),
            },
            users,
        }
    }

    /// Who of the seven may, in the operation of the action's own name.
    fn who(&self, action: Action, seen: &Seen) -> u8 {
        self.who_in(action.name(), action, seen)
    }

    /// Who of the seven may, as a part of another operation.
    fn who_in(&self, operation: &str, action: Action, seen: &Seen) -> u8 {
        let keys = [
            Some("MAIN"),
            Some("ALT"),
            Some("CLERK"),
            Some("READER"),
            Some("ALTREADER"),
            Some("OPERATOR"),
            None,
        ];
        let mut may = 0;
        for (bit, key) in keys.into_iter().enumerate() {
            let user = key.map(|key| Arc::clone(self.users.by_access_key(key).unwrap()));
            let principal = Principal::new(Arc::clone(&self.users), user);
            let asks = Asks::new(
                operation,
                &http::HeaderMap::new(),
                &Uri::from_static("/papers/a"),
                None,
                "us-east-1",
            );
            let context = RequestContext {
                asks: &asks,
                principal: &principal,
                owner: &self.ground.owner,
                seen,
                version: None,
                source: false,
                looked: Cell::new(false),
            };
            let key = (action.level() == Level::Object).then_some("a");
            match decide(&context, &self.ground, action, key) {
                Outcome::Allowed(_) | Outcome::AllowedByBucketAcl | Outcome::AllowedByObject(_) => {
                    may |= 1 << bit
                }
                Outcome::Denied(_) => {}
                Outcome::ObjectWanted => panic!("it was looked at"),
            }
        }
        may
    }
}

fn policy(statement: serde_json::Value) -> serde_json::Value {
    let mut whole = json!({"Principal": "*", "Effect": "Allow", "Action": "*", "Resource": ["arn:aws:s3:::papers", "arn:aws:s3:::papers/*"]});
    for (name, value) in statement.as_object().unwrap() {
        whole[name] = value.clone();
    }
    json!({"policy": json!({"Version": "2012-10-17", "Statement": whole}).to_string()})
}

fn there(owner: Option<&str>, acl: serde_json::Value) -> Seen {
    let mut facts = json!({});
    if let Some(owner) = owner {
        facts["owner"] = json!(owner);
    }
    if !acl.is_null() {
        facts["acl"] = acl;
    }
    Seen::There(serde_json::from_value(facts).unwrap())
}

#[test]
fn who_may_do_what() {
    use Action::{
        AbortMultipartUpload, DeleteBucketPolicy, GetObject, ListBucket, PutBucketAcl, PutObject,
        PutObjectAcl,
    };
    let own = || there(None, json!(null));
    let public = json!([{"to": "all-users", "may": "READ"}]);
    let signed = json!([{"to": "authenticated-users", "may": "FULL_CONTROL"}]);
    // By ownership: the account, its users by their policies, and the operator.
    let reads = MAIN | READER | OPERATOR;
    let writes = MAIN | OPERATOR;
    let rows = [
        ("no rules", json!({}), GetObject, own(), reads),
        ("no rules", json!({}), PutObject, own(), writes),
        ("no rules", json!({}), GetObject, Seen::Missing, reads),
        // Policies.
        (
            "allow everyone",
            policy(json!({})),
            PutObject,
            own(),
            ALL & !ALT_READER,
        ),
        ("allow everyone", policy(json!({})), GetObject, own(), ALL),
        (
            "deny everyone",
            policy(json!({"Effect": "Deny"})),
            GetObject,
            own(),
            0,
        ),
        (
            "deny everyone",
            policy(json!({"Effect": "Deny"})),
            DeleteBucketPolicy,
            own(),
            MAIN | OPERATOR,
        ),
        (
            "allow alt",
            policy(json!({"Principal": {"AWS": "alt"}})),
            GetObject,
            own(),
            reads | ALT,
        ),
        (
            "allow alt's account",
            policy(json!({"Principal": {"AWS": "arn:aws:iam::alt:root"}})),
            GetObject,
            own(),
            reads | ALT | ALT_READER,
        ),
        (
            "allow alt's account",
            policy(json!({"Principal": {"AWS": "arn:aws:iam::alt:root"}})),
            PutObject,
            own(),
            writes | ALT,
        ),
        (
            "allow the owner's account",
            policy(json!({"Principal": {"AWS": "arn:aws:iam::main:root"}})),
            PutObject,
            own(),
            writes,
        ),
        (
            "allow the clerk",
            policy(json!({"Principal": {"AWS": "clerk"}})),
            PutObject,
            own(),
            writes | CLERK,
        ),
        (
            "deny the owner",
            policy(json!({"Effect": "Deny", "Principal": {"AWS": "main"}})),
            GetObject,
            own(),
            READER | OPERATOR,
        ),
        (
            "an unreadable policy",
            json!({"policy": "{"}),
            GetObject,
            own(),
            0,
        ),
        (
            "an unreadable policy",
            json!({"policy": "{"}),
            DeleteBucketPolicy,
            own(),
            MAIN | OPERATOR,
        ),
        // ACLs of the bucket.
        (
            "public bucket",
            json!({"acl": public}),
            ListBucket,
            own(),
            OPERATOR | NOBODY | ALT | MAIN,
        ),
        (
            "public bucket",
            json!({"acl": public}),
            GetObject,
            own(),
            reads,
        ),
        (
            "public bucket",
            json!({"acl": public}),
            PutObject,
            own(),
            OPERATOR,
        ),
        (
            "public bucket",
            json!({"acl": public}),
            PutBucketAcl,
            own(),
            MAIN | OPERATOR,
        ),
        (
            "public bucket",
            json!({"acl": public}),
            AbortMultipartUpload,
            own(),
            MAIN | OPERATOR,
        ),
        (
            "signed",
            json!({"acl": signed}),
            PutObject,
            own(),
            MAIN | ALT | OPERATOR,
        ),
        (
            "signed",
            json!({"acl": signed}),
            PutBucketAcl,
            own(),
            MAIN | ALT | OPERATOR,
        ),
        ("nobody", json!({"acl": []}), PutObject, own(), OPERATOR),
        (
            "nobody",
            json!({"acl": []}),
            PutBucketAcl,
            own(),
            MAIN | OPERATOR,
        ),
        (
            "a missing key, listable",
            json!({"acl": public}),
            GetObject,
            Seen::Missing,
            reads | ALT | NOBODY,
        ),
        // ACLs of the object.
        (
            "public object",
            json!({}),
            GetObject,
            there(None, public.clone()),
            reads | ALT | ALT_READER | NOBODY,
        ),
        (
            "public object",
            json!({}),
            PutObjectAcl,
            there(None, public.clone()),
            writes,
        ),
        (
            "signed object",
            json!({}),
            GetObject,
            there(None, signed.clone()),
            reads | ALT | ALT_READER,
        ),
        (
            "signed object",
            json!({}),
            PutObjectAcl,
            there(None, signed.clone()),
            writes | ALT,
        ),
        (
            "ignored",
            json!({"block": {"public_acls": false, "ignore_public_acls": true, "public_policy": false, "restrict": false}}),
            GetObject,
            there(None, public.clone()),
            reads,
        ),
        (
            "enforced",
            json!({"ownership": "BucketOwnerEnforced"}),
            GetObject,
            there(None, public.clone()),
            reads,
        ),
        (
            "enforced",
            json!({"ownership": "BucketOwnerEnforced", "acl": public}),
            PutObject,
            own(),
            writes,
        ),
        // Objects of others.
        (
            "alt's object",
            json!({"shared": true}),
            GetObject,
            there(Some("alt"), json!(null)),
            ALT | ALT_READER | OPERATOR,
        ),
        (
            "alt's object",
            json!({"shared": true}),
            PutObjectAcl,
            there(Some("alt"), json!(null)),
            ALT | OPERATOR,
        ),
        (
            "alt's object, enforced",
            json!({"shared": true, "ownership": "BucketOwnerEnforced"}),
            GetObject,
            there(Some("alt"), json!(null)),
            reads,
        ),
    ];
    for (name, rules, action, seen, expected) in rows {
        let may = Bench::new(rules).who(action, &seen);
        assert_eq!(
            may, expected,
            "{name}: {action:?}: {may:07b} is not {expected:07b}"
        );
    }
    let restricted = |statement| {
        let mut rules = policy(statement);
        rules["block"] = json!({"public_acls": false, "ignore_public_acls": false, "public_policy": false, "restrict": true});
        Bench::new(rules).who(GetObject, &own())
    };
    assert_eq!(restricted(json!({})), reads | CLERK);
    assert_eq!(
        restricted(json!({"Principal": {"AWS": "alt"}})),
        reads | ALT
    );
}

/// The ACL that a write gives its object: asked of policies as any action is, and of the ACL that
/// lets write, not of the object that is in the place.
#[test]
fn who_may_write_by_an_acl_may_give_one_unless_a_policy_denies_it() {
    let signed = json!([{"to": "authenticated-users", "may": "WRITE"}]);
    let deny = |action: &str| {
        let mut rules = policy(
            json!({"Effect": "Deny", "Action": action, "Resource": "arn:aws:s3:::papers/*"}),
        );
        rules["acl"] = signed.clone();
        rules["shared"] = json!(true);
        rules
    };
    let others = || there(Some("alt"), json!(null));
    for (name, rules, seen, expected) in [
        (
            "writers",
            json!({"acl": signed}),
            others(),
            MAIN | ALT | OPERATOR,
        ),
        (
            "over an object of alt's",
            json!({"shared": true}),
            others(),
            MAIN | OPERATOR,
        ),
        (
            "deny of something else",
            deny("s3:DeleteObject"),
            others(),
            MAIN | ALT | OPERATOR,
        ),
        ("deny", deny("s3:PutObjectAcl"), others(), 0),
        (
            "deny, nothing there",
            deny("s3:PutObjectAcl"),
            Seen::Missing,
            0,
        ),
    ] {
        for operation in [
            "PutObject",
            "CopyObject",
            "CreateMultipartUpload",
            "PostObject",
        ] {
            let may = Bench::new(rules.clone()).who_in(operation, Action::PutObjectAcl, &seen);
            assert_eq!(may, expected, "{name}, {operation}: {may:07b}");
        }
    }
}

/// Between the decision and the opening another object may come in: whatever an ACL of the object
/// could say is asked of that one.
#[test]
fn what_was_not_there_is_asked_of_again_when_it_is_opened() {
    use Action::{GetObject, GetObjectAcl, PutObjectAcl};
    let public = json!([{"to": "all-users", "may": "READ"}]);
    for (user, rules) in [
        ("MAIN", json!({"shared": true})),
        ("MAIN", json!({"ownership": "ObjectWriter"})),
        ("ALT", json!({"acl": public})),
    ] {
        let bench = Bench::new(rules.clone());
        let user = Arc::clone(bench.users.by_access_key(user).unwrap());
        let principal = Principal::new(Arc::clone(&bench.users), Some(user));
        for action in [GetObject, GetObjectAcl, PutObjectAcl] {
            let asks = Asks::of_test(action.name(), &[]);
            let asked = |seen: &Seen| {
                let context = RequestContext {
                    asks: &asks,
                    principal: &principal,
                    owner: &bench.ground.owner,
                    seen,
                    version: None,
                    source: false,
                    looked: Cell::new(false),
                };
                decide(&context, &bench.ground, action, Some("a"))
            };
            let outcome = asked(&Seen::Missing);
            let by_object = matches!(outcome, Outcome::AllowedByObject(_));
            assert!(by_object, "{rules}, {action:?}: {outcome:?}");
            let came_in = there(Some("operator"), json!(null));
            let denied = matches!(asked(&came_in), Outcome::Denied(_));
            assert!(denied, "{rules}, {action:?}");
        }
    }
}

/// A condition on tags holds of the object that is opened, not only of the one that was there when
/// it was asked.
#[test]
fn what_its_tags_decided_is_asked_again_of_the_object_that_is_opened() {
    let tagged = |value: &str| {
        let facts = json!({"tags": [["secret", value]]});
        Facts::read(&serde_json::to_vec(&facts).unwrap()).unwrap()
    };
    let condition = json!({"StringEquals": {"s3:ExistingObjectTag/secret": "no"}});
    for source in [false, true] {
        let bench = Bench::new(policy(json!({"Condition": condition})));
        let alt = Arc::clone(bench.users.by_access_key("ALT").unwrap());
        let mut principal = Principal::new(Arc::clone(&bench.users), Some(alt));
        let ground = Some(Arc::new(bench.ground));
        *(if source {
            &mut principal.source
        } else {
            &mut principal.ground
        }) = ground;
        principal.asks = Some(Arc::new(Asks::of_test("GetObject", &[])));
        let rests = vec![ByObject {
            action: Action::GetObject,
            key: Some("a".to_owned()),
            version: None,
        }];
        for (value, confirmed) in [("no", true), ("yes", false)] {
            let facts = tagged(value);
            let said = principal.confirmed(&rests, source, &facts);
            assert_eq!(said.is_ok(), confirmed, "{value}");
        }
    }
}

#[test]
fn an_object_is_looked_at_only_where_it_decides() {
    let bench = Bench::new(json!({}));
    let main = Arc::clone(bench.users.by_access_key("MAIN").unwrap());
    let alt = Arc::clone(bench.users.by_access_key("ALT").unwrap());
    for (user, rules, wanted) in [
        (&main, json!({}), false),
        (&main, json!({"shared": true}), true),
        (
            &main,
            json!({"shared": true, "ownership": "BucketOwnerEnforced"}),
            false,
        ),
        (&alt, json!({}), true),
        (&alt, policy(json!({})), false),
        (
            &main,
            policy(
                json!({"Effect": "Deny", "Condition": {"StringEquals": {"s3:ExistingObjectTag/a": "b"}}}),
            ),
            true,
        ),
    ] {
        let bench = Bench::new(rules.clone());
        let principal = Principal::new(Arc::clone(&bench.users), Some(Arc::clone(user)));
        let asks = Asks::new(
            "GetObject",
            &http::HeaderMap::new(),
            &Uri::from_static("/papers/a"),
            None,
            "",
        );
        let context = RequestContext {
            asks: &asks,
            principal: &principal,
            owner: &bench.ground.owner,
            seen: &Seen::NotYet,
            version: None,
            source: false,
            looked: Cell::new(false),
        };
        let outcome = decide(&context, &bench.ground, Action::GetObject, Some("a"));
        assert_eq!(outcome == Outcome::ObjectWanted, wanted, "{rules}");
    }
}
