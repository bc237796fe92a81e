//! The actions of S3, and sets of them.

use super::PolicyError;
use super::pattern::{Pattern, Syntax};

/// What kind of resource an action is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// The whole service.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}

macro_rules! actions {
    ($($level:ident { $($name:ident)* })*) => {
        /// An action of S3, as policies name it after `s3:`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Action {
            $($($name,)*)*
        }

        impl Action {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: &[Action] = &[$($(Action::$name,)*)*];

            /// The name after `s3:`.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $($(Action::$name => stringify!($name),)*)*
                }
            }

            /// What it is on.
            pub(crate) const fn level(self) -> Level {
                match self {
                    $($(Action::$name => Level::$level,)*)*
                }
            }
        }
    };
}

actions! {
    Service {
        ListAllMyBuckets
    }
    Bucket {
        CreateBucket DeleteBucket
        ListBucket ListBucketVersions ListBucketMultipartUploads GetBucketLocation
        GetBucketAcl PutBucketAcl
        GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPolicyStatus
        GetBucketPublicAccessBlock PutBucketPublicAccessBlock
        GetBucketOwnershipControls PutBucketOwnershipControls
        GetEncryptionConfiguration PutEncryptionConfiguration
        GetBucketCORS PutBucketCORS
        GetBucketTagging PutBucketTagging
        GetLifecycleConfiguration PutLifecycleConfiguration
        GetBucketVersioning PutBucketVersioning
        GetBucketObjectLockConfiguration PutBucketObjectLockConfiguration
        GetBucketLogging PutBucketLogging
        GetBucketNotification PutBucketNotification
        GetBucketRequestPayment PutBucketRequestPayment
        GetBucketWebsite PutBucketWebsite DeleteBucketWebsite
        GetReplicationConfiguration PutReplicationConfiguration
        GetAccelerateConfiguration PutAccelerateConfiguration
        GetAnalyticsConfiguration PutAnalyticsConfiguration
        GetInventoryConfiguration PutInventoryConfiguration
        GetMetricsConfiguration PutMetricsConfiguration
        GetIntelligentTieringConfiguration PutIntelligentTieringConfiguration
        GetBucketAbac PutBucketAbac
        GetBucketMetadataTableConfiguration CreateBucketMetadataTableConfiguration
        DeleteBucketMetadataTableConfiguration UpdateBucketMetadataInventoryTableConfiguration
        UpdateBucketMetadataJournalTableConfiguration
        CreateSession
    }
    Object {
        GetObject GetObjectVersion PutObject DeleteObject DeleteObjectVersion
        GetObjectAttributes GetObjectVersionAttributes
        GetObjectAcl GetObjectVersionAcl PutObjectAcl PutObjectVersionAcl
        GetObjectTagging GetObjectVersionTagging
        PutObjectTagging PutObjectVersionTagging
        DeleteObjectTagging DeleteObjectVersionTagging
        GetObjectRetention PutObjectRetention GetObjectLegalHold PutObjectLegalHold
        BypassGovernanceRetention
        AbortMultipartUpload ListMultipartUploadParts
        RestoreObject UpdateObjectEncryption
        GetObjectTorrent GetObjectVersionTorrent
        GetObjectVersionForReplication ReplicateObject ReplicateDelete ReplicateTags
        InitiateReplication ObjectOwnerOverrideToBucketOwner
    }
}

/// A set of actions, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Actions(u128);

const _: () = assert!(Action::ALL.len() <= 128);

impl Actions {
    pub(super) const NONE: Actions = Actions(0);
    pub(super) const ALL: Actions = Actions(u128::MAX);

    /// The actions that a policy names: `s3:Name` with `*` and `?`, in any case, or `*`.
    ///
    /// # Errors
    /// No action has such a name.
    pub(super) fn named(text: &str) -> Result<Actions, PolicyError> {
        if text == "*" {
            return Ok(Actions::ALL);
        }
        let invalid = || PolicyError(format!("Policy has invalid action `{text}`"));
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("s3:").ok_or_else(invalid)?;
        let syntax = Syntax {
            wildcards: true,
            variables: false,
        };
        let pattern = Pattern::parse(name, syntax)?;
        let matching = Action::ALL
            .iter()
            .filter(|action| {
                pattern.matches(&action.name().to_ascii_lowercase(), &super::key::Nothing)
            })
            .fold(Actions::NONE, |set, action| set.with(*action));
        if matching == Actions::NONE {
            return Err(invalid());
        }
        Ok(matching)
    }

    pub(super) const fn with(self, action: Action) -> Actions {
        Actions(self.0 | 1 << action as u32)
    }

    pub(super) const fn and(self, other: Actions) -> Actions {
        Actions(self.0 | other.0)
    }

    pub(super) const fn contains(self, action: Action) -> bool {
        self.0 & (1 << action as u32) != 0
    }

    /// Whether one of them is on a thing of this level.
    pub(super) fn any_on(self, level: Level) -> bool {
        Action::ALL
            .iter()
            .any(|action| action.level() == level && self.contains(*action))
    }
}
