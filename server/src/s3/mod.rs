//! The S3 face: each operation translated to calls of the vault, each answer and error as S3 clients know them.
//!
//! Order of a request: [`wire`] (request id, transport rules) -> signature (protocol crate) ->
//! [`access`] (who may) -> an operation here -> the vault.

mod access;
mod acl;
mod amend;
mod announced;
mod archive;
mod attributes;
mod body;
mod bucket_encryption;
mod buckets;
mod ceph;
mod checksums;
mod conditions;
mod copy;
mod cors;
mod delete;
mod digest;
mod documents;
mod encryption;
mod errors;
mod facts;
mod frames;
mod kms;
mod lifecycle;
mod lifecycle_config;
mod list;
mod lock;
mod mismatch;
mod multipart;
mod objects;
mod part_sums;
mod parts;
mod post;
mod presigned;
mod query;
mod restore;
mod retention;
mod rules;
mod settings;
mod sharing;
mod signing;
mod sse;
mod tagging;
mod tags;
#[cfg(test)]
mod testing;
mod unframe;
mod unset;
mod update_encryption;
mod uploads;
mod version;
mod version2;
mod versioning;
mod wire;
mod write_facts;

use std::sync::Arc;

use s3s::config::S3Config;
use s3s::dto::*;
use s3s::host::{DomainError, SingleDomain};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result};
use strongroom::vault::Vault;

pub(crate) use self::documents::Documents;
pub(crate) use self::kms::Kms;
pub(crate) use self::lifecycle::run as lifecycle;
pub(crate) use self::wire::Wire;
use crate::config::{self, Compat};
use crate::metrics::Metrics;
use crate::users::{Auth, UserFile};

/// What every operation works on.
pub(crate) struct AppState {
    pub(crate) vault: Arc<Vault>,
    /// Settings of buckets.
    pub(crate) documents: Arc<Documents>,
    /// Keys that clients may name.
    pub(crate) kms: Kms,
    pub(crate) users: Arc<UserFile>,
    pub(crate) settings: config::S3,
    pub(crate) multipart: config::Multipart,
    pub(crate) lifecycle: config::Lifecycle,
    pub(crate) metrics: Metrics,
}

/// Builds the S3 service over the state; every request is authorized, and what nobody
/// signed only where a policy or an ACL says so.
///
/// # Errors
/// The domain of the settings is not one.
pub(crate) fn service(state: Arc<AppState>) -> Result<Wire, DomainError> {
    let mut builder = S3ServiceBuilder::new(Face {
        state: Arc::clone(&state),
    });
    builder.set_auth(Auth(Arc::clone(&state.users)));
    if let Some(domain) = &state.settings.domain {
        // Other hosts, addresses among them, go on meaning path-style.
        builder.set_host(SingleDomain::new(domain)?.with_cname_fallback(false));
    }
    builder.set_access(access::Access {
        state: Arc::clone(&state),
    });
    let mut config = S3Config::default();
    config.xml_max_body_size = 2 << 20;
    config.aws_chunked_stream_max_chunk_size = 16 << 20;
    config.form_max_fields_size = 1 << 20;
    config.unsigned_amz_header_allowlist =
        vec![signing::AMZ_DATE.to_owned(), announced::TRAILER.to_owned()];
    // What was signed for another service is not for this one, whatever its address would mean here.
    config.sig_v4_allowed_services = vec![signing::SERVICE.to_owned()];
    config.enable_sig_v2 = state.settings.compat == Compat::Ceph;
    let config = Arc::new(presigned::Configured(Arc::new(config)));
    builder.set_config(Arc::clone(&config) as _);
    Ok(Wire::new(builder.build(), config, state))
}

/// The operations; what is not here answers NotImplemented.
struct Face {
    state: Arc<AppState>,
}

impl Face {
    /// Where services differ, the answer of the one that clients are used to.
    fn in_terms_of_the_client(&self, cause: S3Error) -> S3Error {
        let cause = self.state.kms.in_terms_of_the_client(cause);
        match self.state.settings.compat {
            Compat::Aws => cause,
            Compat::Ceph => ceph::worded(cause),
        }
    }
}

/// Declares the operations of the face, each in a module of its own.
macro_rules! operations {
    ($($name:ident: $module:ident, $input:ident => $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Face {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    let principal = access::principal(&request)?;
                    let done = $module::$name(&self.state, request).await;
                    done.map(wire::with_status)
                        .map_err(|cause| self.in_terms_of_the_client(principal.may_see(cause)))
                }
            )*
        }
    };
}

operations! {
    create_bucket: buckets, CreateBucketInput => CreateBucketOutput;
    delete_bucket: buckets, DeleteBucketInput => DeleteBucketOutput;
    get_bucket_location: buckets, GetBucketLocationInput => GetBucketLocationOutput;
    head_bucket: buckets, HeadBucketInput => HeadBucketOutput;
    list_buckets: buckets, ListBucketsInput => ListBucketsOutput;
    put_object: objects, PutObjectInput => PutObjectOutput;
    get_object: objects, GetObjectInput => GetObjectOutput;
    head_object: objects, HeadObjectInput => HeadObjectOutput;
    copy_object: copy, CopyObjectInput => CopyObjectOutput;
    delete_object: delete, DeleteObjectInput => DeleteObjectOutput;
    delete_objects: delete, DeleteObjectsInput => DeleteObjectsOutput;
    list_objects: list, ListObjectsInput => ListObjectsOutput;
    create_multipart_upload: multipart, CreateMultipartUploadInput => CreateMultipartUploadOutput;
    complete_multipart_upload: multipart, CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload: multipart, AbortMultipartUploadInput => AbortMultipartUploadOutput;
    upload_part: parts, UploadPartInput => UploadPartOutput;
    upload_part_copy: parts, UploadPartCopyInput => UploadPartCopyOutput;
    list_parts: parts, ListPartsInput => ListPartsOutput;
    list_multipart_uploads: uploads, ListMultipartUploadsInput => ListMultipartUploadsOutput;
    update_object_encryption: update_encryption, UpdateObjectEncryptionInput => UpdateObjectEncryptionOutput;
    restore_object: archive, RestoreObjectInput => RestoreObjectOutput;
    get_object_attributes: attributes, GetObjectAttributesInput => GetObjectAttributesOutput;
    put_object_tagging: tagging, PutObjectTaggingInput => PutObjectTaggingOutput;
    get_object_tagging: tagging, GetObjectTaggingInput => GetObjectTaggingOutput;
    delete_object_tagging: tagging, DeleteObjectTaggingInput => DeleteObjectTaggingOutput;
    put_bucket_versioning: versioning, PutBucketVersioningInput => PutBucketVersioningOutput;
    get_bucket_versioning: versioning, GetBucketVersioningInput => GetBucketVersioningOutput;
    list_object_versions: versioning, ListObjectVersionsInput => ListObjectVersionsOutput;
    put_object_lock_configuration: retention, PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput;
    get_object_lock_configuration: retention, GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput;
    put_object_retention: retention, PutObjectRetentionInput => PutObjectRetentionOutput;
    get_object_retention: retention, GetObjectRetentionInput => GetObjectRetentionOutput;
    put_object_legal_hold: retention, PutObjectLegalHoldInput => PutObjectLegalHoldOutput;
    get_object_legal_hold: retention, GetObjectLegalHoldInput => GetObjectLegalHoldOutput;
    list_objects_v2: list, ListObjectsV2Input => ListObjectsV2Output;
    put_bucket_encryption: bucket_encryption, PutBucketEncryptionInput => PutBucketEncryptionOutput;
    get_bucket_encryption: bucket_encryption, GetBucketEncryptionInput => GetBucketEncryptionOutput;
    delete_bucket_encryption: bucket_encryption, DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput;
    put_bucket_lifecycle_configuration: lifecycle_config, PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput;
    get_bucket_lifecycle_configuration: lifecycle_config, GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput;
    delete_bucket_lifecycle: lifecycle_config, DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput;
    put_bucket_cors: cors, PutBucketCorsInput => PutBucketCorsOutput;
    get_bucket_cors: cors, GetBucketCorsInput => GetBucketCorsOutput;
    delete_bucket_cors: cors, DeleteBucketCorsInput => DeleteBucketCorsOutput;
    put_bucket_tagging: settings, PutBucketTaggingInput => PutBucketTaggingOutput;
    get_bucket_tagging: settings, GetBucketTaggingInput => GetBucketTaggingOutput;
    delete_bucket_tagging: settings, DeleteBucketTaggingInput => DeleteBucketTaggingOutput;
    put_bucket_request_payment: settings, PutBucketRequestPaymentInput => PutBucketRequestPaymentOutput;
    get_bucket_request_payment: settings, GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput;
    put_bucket_policy: sharing, PutBucketPolicyInput => PutBucketPolicyOutput;
    get_bucket_policy: sharing, GetBucketPolicyInput => GetBucketPolicyOutput;
    delete_bucket_policy: sharing, DeleteBucketPolicyInput => DeleteBucketPolicyOutput;
    get_bucket_policy_status: sharing, GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput;
    put_public_access_block: sharing, PutPublicAccessBlockInput => PutPublicAccessBlockOutput;
    get_public_access_block: sharing, GetPublicAccessBlockInput => GetPublicAccessBlockOutput;
    delete_public_access_block: sharing, DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput;
    put_bucket_ownership_controls: sharing, PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput;
    get_bucket_ownership_controls: sharing, GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput;
    delete_bucket_ownership_controls: sharing, DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput;
    put_bucket_acl: sharing, PutBucketAclInput => PutBucketAclOutput;
    get_bucket_acl: sharing, GetBucketAclInput => GetBucketAclOutput;
    put_object_acl: sharing, PutObjectAclInput => PutObjectAclOutput;
    get_object_acl: sharing, GetObjectAclInput => GetObjectAclOutput;
    get_bucket_logging: unset, GetBucketLoggingInput => GetBucketLoggingOutput;
    put_bucket_logging: unset, PutBucketLoggingInput => PutBucketLoggingOutput;
    get_bucket_notification_configuration: unset, GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput;
    put_bucket_notification_configuration: unset, PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput;
    get_bucket_accelerate_configuration: unset, GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput;
    get_bucket_website: unset, GetBucketWebsiteInput => GetBucketWebsiteOutput;
    delete_bucket_website: unset, DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput;
    get_bucket_replication: unset, GetBucketReplicationInput => GetBucketReplicationOutput;
    delete_bucket_replication: unset, DeleteBucketReplicationInput => DeleteBucketReplicationOutput;
    list_bucket_analytics_configurations: unset, ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput;
    get_bucket_analytics_configuration: unset, GetBucketAnalyticsConfigurationInput => GetBucketAnalyticsConfigurationOutput;
    list_bucket_inventory_configurations: unset, ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput;
    get_bucket_inventory_configuration: unset, GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput;
    list_bucket_metrics_configurations: unset, ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput;
    get_bucket_metrics_configuration: unset, GetBucketMetricsConfigurationInput => GetBucketMetricsConfigurationOutput;
    list_bucket_intelligent_tiering_configurations: unset, ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput;
    get_bucket_intelligent_tiering_configuration: unset, GetBucketIntelligentTieringConfigurationInput => GetBucketIntelligentTieringConfigurationOutput;
}
