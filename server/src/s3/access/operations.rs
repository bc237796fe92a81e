//! Every operation of S3, and the actions that its caller needs.

use s3s::{S3ErrorCode, S3Result};

use super::asks::Asks;
use crate::policy::Action;
use crate::s3::errors::error;

/// What an operation needs before it runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// All of these, on what the path names.
    Actions(Vec<Action>),
    /// What its body says decides: asked again once that is read.
    Body,
}

/// The actions of an operation; what is in no row is denied to everybody.
///
/// # Errors
/// `NotImplemented` for what this server does not offer, `AccessDenied` for what it does not know,
/// `MethodNotAllowed` for what is not meant as it was understood.
pub(super) fn needs(asks: &Asks) -> S3Result<Needs> {
    use Action as A;
    if is_of_another_resource(asks) {
        return Err(error(
            S3ErrorCode::MethodNotAllowed,
            "The specified method is not allowed against this resource.",
        ));
    }
    let version = |current, version| {
        if asks.version().is_some() {
            version
        } else {
            current
        }
    };
    let actions = match asks.operation.as_str() {
        "ListBuckets" => vec![A::ListAllMyBuckets],
        "DeleteBucket" => vec![A::DeleteBucket],
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => vec![A::ListBucket],
        "GetBucketLocation" => vec![A::GetBucketLocation],
        "ListObjectVersions" => vec![A::ListBucketVersions],
        "ListMultipartUploads" => vec![A::ListBucketMultipartUploads],

        "GetObject" | "HeadObject" | "SelectObjectContent" => {
            vec![version(A::GetObject, A::GetObjectVersion)]
        }
        "GetObjectAttributes" => vec![
            version(A::GetObject, A::GetObjectVersion),
            version(A::GetObjectAttributes, A::GetObjectVersionAttributes),
        ],
        "GetObjectTorrent" => vec![version(A::GetObjectTorrent, A::GetObjectVersionTorrent)],
        "PutObject" | "PostObject" | "CopyObject" | "CreateMultipartUpload" => written(asks),
        "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" => vec![A::PutObject],
        "AbortMultipartUpload" => vec![A::AbortMultipartUpload],
        "ListParts" => vec![A::ListMultipartUploadParts],
        "DeleteObject" => deleted(asks, asks.version().is_some()),
        "RestoreObject" => vec![A::RestoreObject],
        "UpdateObjectEncryption" => vec![A::UpdateObjectEncryption],

        "GetObjectAcl" => vec![version(A::GetObjectAcl, A::GetObjectVersionAcl)],
        "PutObjectAcl" => vec![version(A::PutObjectAcl, A::PutObjectVersionAcl)],
        "GetObjectTagging" => vec![version(A::GetObjectTagging, A::GetObjectVersionTagging)],
        "DeleteObjectTagging" => {
            vec![version(
                A::DeleteObjectTagging,
                A::DeleteObjectVersionTagging,
            )]
        }
        "GetObjectRetention" => vec![A::GetObjectRetention],
        "GetObjectLegalHold" => vec![A::GetObjectLegalHold],

        "GetBucketAcl" => vec![A::GetBucketAcl],
        "PutBucketAcl" => vec![A::PutBucketAcl],
        "GetBucketPolicy" => vec![A::GetBucketPolicy],
        "PutBucketPolicy" => vec![A::PutBucketPolicy],
        "DeleteBucketPolicy" => vec![A::DeleteBucketPolicy],
        "GetBucketPolicyStatus" => vec![A::GetBucketPolicyStatus],
        "GetPublicAccessBlock" => vec![A::GetBucketPublicAccessBlock],
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => vec![A::PutBucketPublicAccessBlock],
        "GetBucketOwnershipControls" => vec![A::GetBucketOwnershipControls],
        "PutBucketOwnershipControls" | "DeleteBucketOwnershipControls" => {
            vec![A::PutBucketOwnershipControls]
        }
        "GetBucketEncryption" => vec![A::GetEncryptionConfiguration],
        "PutBucketEncryption" | "DeleteBucketEncryption" => vec![A::PutEncryptionConfiguration],
        "GetBucketCors" => vec![A::GetBucketCORS],
        "PutBucketCors" | "DeleteBucketCors" => vec![A::PutBucketCORS],
        "GetBucketTagging" => vec![A::GetBucketTagging],
        "PutBucketTagging" | "DeleteBucketTagging" => vec![A::PutBucketTagging],
        "GetBucketLifecycleConfiguration" => vec![A::GetLifecycleConfiguration],
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => {
            vec![A::PutLifecycleConfiguration]
        }
        "GetBucketVersioning" => vec![A::GetBucketVersioning],
        "PutBucketVersioning" => vec![A::PutBucketVersioning],
        "GetObjectLockConfiguration" => vec![A::GetBucketObjectLockConfiguration],
        "PutObjectLockConfiguration" => vec![A::PutBucketObjectLockConfiguration],
        "GetBucketLogging" => vec![A::GetBucketLogging],
        "PutBucketLogging" => vec![A::PutBucketLogging],
        "GetBucketNotificationConfiguration" => vec![A::GetBucketNotification],
        "PutBucketNotificationConfiguration" => vec![A::PutBucketNotification],
        "GetBucketRequestPayment" => vec![A::GetBucketRequestPayment],
        "PutBucketRequestPayment" => vec![A::PutBucketRequestPayment],
        "GetBucketWebsite" => vec![A::GetBucketWebsite],
        "PutBucketWebsite" => vec![A::PutBucketWebsite],
        "DeleteBucketWebsite" => vec![A::DeleteBucketWebsite],
        "GetBucketReplication" => vec![A::GetReplicationConfiguration],
        "PutBucketReplication" | "DeleteBucketReplication" => {
            vec![A::PutReplicationConfiguration]
        }
        "GetBucketAccelerateConfiguration" => vec![A::GetAccelerateConfiguration],
        "PutBucketAccelerateConfiguration" => vec![A::PutAccelerateConfiguration],
        "GetBucketAnalyticsConfiguration" | "ListBucketAnalyticsConfigurations" => {
            vec![A::GetAnalyticsConfiguration]
        }
        "PutBucketAnalyticsConfiguration" | "DeleteBucketAnalyticsConfiguration" => {
            vec![A::PutAnalyticsConfiguration]
        }
        "GetBucketInventoryConfiguration" | "ListBucketInventoryConfigurations" => {
            vec![A::GetInventoryConfiguration]
        }
        "PutBucketInventoryConfiguration" | "DeleteBucketInventoryConfiguration" => {
            vec![A::PutInventoryConfiguration]
        }
        "GetBucketMetricsConfiguration" | "ListBucketMetricsConfigurations" => {
            vec![A::GetMetricsConfiguration]
        }
        "PutBucketMetricsConfiguration" | "DeleteBucketMetricsConfiguration" => {
            vec![A::PutMetricsConfiguration]
        }
        "GetBucketIntelligentTieringConfiguration"
        | "ListBucketIntelligentTieringConfigurations" => {
            vec![A::GetIntelligentTieringConfiguration]
        }
        "PutBucketIntelligentTieringConfiguration"
        | "DeleteBucketIntelligentTieringConfiguration" => {
            vec![A::PutIntelligentTieringConfiguration]
        }

        // The region, the keys, the tags and the dates are in the body.
        "CreateBucket" | "DeleteObjects" | "PutObjectTagging" | "PutObjectRetention"
        | "PutObjectLegalHold" => return Ok(Needs::Body),

        "CreateBucketMetadataConfiguration"
        | "CreateBucketMetadataTableConfiguration"
        | "CreateSession"
        | "DeleteBucketMetadataConfiguration"
        | "DeleteBucketMetadataTableConfiguration"
        | "DeleteObjectAnnotation"
        | "GetBucketAbac"
        | "GetBucketMetadataConfiguration"
        | "GetBucketMetadataTableConfiguration"
        | "GetObjectAnnotation"
        | "ListDirectoryBuckets"
        | "ListObjectAnnotations"
        | "ListenBucketNotification"
        | "PutBucketAbac"
        | "PutObjectAnnotation"
        | "RenameObject"
        | "UpdateBucketMetadataAnnotationTableConfiguration"
        | "UpdateBucketMetadataInventoryTableConfiguration"
        | "UpdateBucketMetadataJournalTableConfiguration"
        | "WriteGetObjectResponse" => {
            return Err(error(
                S3ErrorCode::NotImplemented,
                format!("{} is not implemented", asks.operation),
            ));
        }
        _ => return Err(super::denied()),
    };
    Ok(Needs::Actions(actions))
}

/// Whether it would change an object or a bucket where its query names something that belongs to
/// one: the delete of an ACL is not the delete of its object. The protocol crate takes what it does
/// not know so for the plain operation.
fn is_of_another_resource(asks: &Asks) -> bool {
    let changes = matches!(
        asks.operation.as_str(),
        "PutObject" | "CopyObject" | "DeleteObject" | "CreateBucket" | "DeleteBucket"
    );
    changes && SUBRESOURCES.iter().any(|name| asks.names(name))
}

/// Parameters of a query that name something beside the object or bucket itself.
const SUBRESOURCES: [&str; 40] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "annotation",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// To ceph, who may write an object may say in the same request who reads it, and its tags.
pub(super) fn as_ceph(actions: &mut Vec<Action>) {
    if actions.contains(&Action::PutObject) {
        actions.retain(|action| !matches!(action, Action::PutObjectAcl | Action::PutObjectTagging));
    }
}

/// What a write needs by what its headers ask for.
pub(super) fn written(asks: &Asks) -> Vec<Action> {
    let mut actions = vec![Action::PutObject];
    if asks.sets_acl() {
        actions.push(Action::PutObjectAcl);
    }
    if asks
        .header("x-amz-tagging")
        .is_some_and(|tags| !tags.is_empty())
    {
        actions.push(Action::PutObjectTagging);
    }
    if asks.header("x-amz-object-lock-mode").is_some()
        || asks.header("x-amz-object-lock-retain-until-date").is_some()
    {
        actions.push(Action::PutObjectRetention);
    }
    if asks.header("x-amz-object-lock-legal-hold").is_some() {
        actions.push(Action::PutObjectLegalHold);
    }
    actions
}

/// What the delete of a key, or of one version, needs.
pub(super) fn deleted(asks: &Asks, version: bool) -> Vec<Action> {
    let mut actions = vec![if version {
        Action::DeleteObjectVersion
    } else {
        Action::DeleteObject
    }];
    if asks.bypasses_governance() {
        actions.push(Action::BypassGovernanceRetention);
    }
    actions
}

/// What making a bucket needs by what its headers ask for.
pub(super) fn made(asks: &Asks) -> Vec<Action> {
    let mut actions = vec![Action::CreateBucket];
    if asks.sets_acl() {
        actions.push(Action::PutBucketAcl);
    }
    if asks.header("x-amz-object-ownership").is_some() {
        actions.push(Action::PutBucketOwnershipControls);
    }
    if asks.header("x-amz-bucket-object-lock-enabled").is_some() {
        actions.push(Action::PutBucketObjectLockConfiguration);
        actions.push(Action::PutBucketVersioning);
    }
    actions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Each `Operation::name` of the protocol crate.
    const ALL: &str = include_str!("operations.txt");

    #[test]
    fn every_operation_of_the_protocol_crate_has_a_row() {
        for name in ALL.lines() {
            match needs(&Asks::of_test(name, &[])) {
                Ok(Needs::Actions(actions)) => assert!(!actions.is_empty(), "{name}"),
                Ok(Needs::Body) => {}
                Err(refused) => assert_eq!(refused.code().as_str(), "NotImplemented", "{name}"),
            }
        }
        assert_eq!(ALL.lines().count(), 114);
    }

    #[test]
    fn what_is_in_no_row_is_denied() {
        let refused = needs(&Asks::of_test("GetObjectTomorrow", &[])).unwrap_err();
        assert_eq!(refused.code().as_str(), "AccessDenied");
    }

    #[test]
    fn what_belongs_to_an_object_or_bucket_is_not_that_object_or_bucket() {
        let refused = |operation: &str, query: &str| {
            let uri = format!("/b/k?{query}").parse().unwrap();
            let headers = http::HeaderMap::new();
            let asks = Asks::new(operation, &headers, &uri, None, "us-east-1");
            let refused = needs(&asks).err()?;
            Some(refused.code().as_str().to_owned())
        };
        for operation in [
            "PutObject",
            "CopyObject",
            "DeleteObject",
            "CreateBucket",
            "DeleteBucket",
        ] {
            for query in ["acl", "versionId=v&acl=", "versioning", "x=y&uploadId=u"] {
                let expected = Some("MethodNotAllowed".to_owned());
                assert_eq!(refused(operation, query), expected, "{operation}?{query}");
            }
            for query in ["", "versionId=v", "x-id=a", "Acl", "prefix=acl"] {
                assert_eq!(refused(operation, query), None, "{operation}?{query}");
            }
        }
        assert_eq!(refused("GetObjectAcl", "acl"), None);
        assert_eq!(refused("UploadPart", "partNumber=1&uploadId=u"), None);
    }

    #[test]
    fn headers_ask_for_more() {
        let lock = ("x-amz-object-lock-mode", "GOVERNANCE");
        let asks = Asks::of_test(
            "PutObject",
            &[("x-amz-grant-read", "id=x"), ("x-amz-tagging", "a=b"), lock],
        );
        assert_eq!(
            written(&asks),
            [
                Action::PutObject,
                Action::PutObjectAcl,
                Action::PutObjectTagging,
                Action::PutObjectRetention
            ]
        );
        let bypass = Asks::of_test(
            "DeleteObject",
            &[("x-amz-bypass-governance-retention", "True")],
        );
        assert_eq!(
            deleted(&bypass, true),
            [
                Action::DeleteObjectVersion,
                Action::BypassGovernanceRetention
            ]
        );
    }
}
