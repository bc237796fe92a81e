//! The S3 face: each operation translated to calls of the vault, each answer and error as S3 clients know them.
//!
//! Order of a request: [`wire`] (request id, transport rules) -> signature (protocol crate) ->
//! [`access`] (who may) -> an operation of [`buckets`], [`objects`] or [`multipart`] -> the vault. [`post`] makes a PutObject of a
//! form; [`body`], [`facts`] and [`encryption`] are what operations share.

mod access;
mod body;
mod buckets;
mod encryption;
mod errors;
mod facts;
mod lifecycle;
mod multipart;
mod objects;
mod post;
#[cfg(test)]
mod testing;
mod wire;

use std::sync::Arc;

use s3s::config::S3Config;
use s3s::dto::*;
use s3s::host::{DomainError, SingleDomain};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result};
use strongroom::vault::Vault;

pub(crate) use self::lifecycle::run as lifecycle;
pub(crate) use self::wire::Wire;
use crate::config::{self, Compat};
use crate::metrics::Metrics;
pub(crate) use crate::s3::buckets::documents::Documents;
pub(crate) use crate::s3::encryption::kms::Kms;
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
    config.unsigned_amz_header_allowlist = vec![
        wire::signing::AMZ_DATE.to_owned(),
        wire::announced::TRAILER.to_owned(),
    ];
    // What was signed for another service is not for this one, whatever its address would mean here.
    config.sig_v4_allowed_services = vec![wire::signing::SERVICE.to_owned()];
    config.enable_sig_v2 = state.settings.compat == Compat::Ceph;
    let config = Arc::new(wire::presigned::Configured(Arc::new(config)));
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
            Compat::Ceph => wire::ceph::worded(cause),
        }
    }
}

/// Declares the operations of the face, each in a module of its own.
macro_rules! operations {
    ($($name:ident: $($module:ident)::+, $input:ident => $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Face {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    let principal = access::principal(&request)?;
                    let done = $($module)::+::$name(&self.state, request).await;
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
    copy_object: objects::copy, CopyObjectInput => CopyObjectOutput;
    delete_object: objects::delete, DeleteObjectInput => DeleteObjectOutput;
    delete_objects: objects::delete, DeleteObjectsInput => DeleteObjectsOutput;
    list_objects: buckets::list, ListObjectsInput => ListObjectsOutput;
    create_multipart_upload: multipart, CreateMultipartUploadInput => CreateMultipartUploadOutput;
    complete_multipart_upload: multipart, CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    abort_multipart_upload: multipart, AbortMultipartUploadInput => AbortMultipartUploadOutput;
    upload_part: multipart::parts, UploadPartInput => UploadPartOutput;
    upload_part_copy: multipart::parts, UploadPartCopyInput => UploadPartCopyOutput;
    list_parts: multipart::parts, ListPartsInput => ListPartsOutput;
    list_multipart_uploads: multipart::list, ListMultipartUploadsInput => ListMultipartUploadsOutput;
    update_object_encryption: encryption::update, UpdateObjectEncryptionInput => UpdateObjectEncryptionOutput;
    restore_object: objects::archive, RestoreObjectInput => RestoreObjectOutput;
    get_object_attributes: objects::attributes, GetObjectAttributesInput => GetObjectAttributesOutput;
    put_object_tagging: objects::tagging, PutObjectTaggingInput => PutObjectTaggingOutput;
    get_object_tagging: objects::tagging, GetObjectTaggingInput => GetObjectTaggingOutput;
    delete_object_tagging: objects::tagging, DeleteObjectTaggingInput => DeleteObjectTaggingOutput;
    put_bucket_versioning: buckets::versioning, PutBucketVersioningInput => PutBucketVersioningOutput;
    get_bucket_versioning: buckets::versioning, GetBucketVersioningInput => GetBucketVersioningOutput;
    list_object_versions: buckets::versioning, ListObjectVersionsInput => ListObjectVersionsOutput;
    put_object_lock_configuration: objects::retention, PutObjectLockConfigurationInput => PutObjectLockConfigurationOutput;
    get_object_lock_configuration: objects::retention, GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput;
    put_object_retention: objects::retention, PutObjectRetentionInput => PutObjectRetentionOutput;
    get_object_retention: objects::retention, GetObjectRetentionInput => GetObjectRetentionOutput;
    put_object_legal_hold: objects::retention, PutObjectLegalHoldInput => PutObjectLegalHoldOutput;
    get_object_legal_hold: objects::retention, GetObjectLegalHoldInput => GetObjectLegalHoldOutput;
    list_objects_v2: buckets::list, ListObjectsV2Input => ListObjectsV2Output;
    put_bucket_encryption: encryption::bucket_default, PutBucketEncryptionInput => PutBucketEncryptionOutput;
    get_bucket_encryption: encryption::bucket_default, GetBucketEncryptionInput => GetBucketEncryptionOutput;
    delete_bucket_encryption: encryption::bucket_default, DeleteBucketEncryptionInput => DeleteBucketEncryptionOutput;
    put_bucket_lifecycle_configuration: lifecycle::config, PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput;
    get_bucket_lifecycle_configuration: lifecycle::config, GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput;
    delete_bucket_lifecycle: lifecycle::config, DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput;
    put_bucket_cors: buckets::cors, PutBucketCorsInput => PutBucketCorsOutput;
    get_bucket_cors: buckets::cors, GetBucketCorsInput => GetBucketCorsOutput;
    delete_bucket_cors: buckets::cors, DeleteBucketCorsInput => DeleteBucketCorsOutput;
    put_bucket_tagging: buckets::settings, PutBucketTaggingInput => PutBucketTaggingOutput;
    get_bucket_tagging: buckets::settings, GetBucketTaggingInput => GetBucketTaggingOutput;
    delete_bucket_tagging: buckets::settings, DeleteBucketTaggingInput => DeleteBucketTaggingOutput;
    put_bucket_request_payment: buckets::settings, PutBucketRequestPaymentInput => PutBucketRequestPaymentOutput;
    get_bucket_request_payment: buckets::settings, GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput;
    put_bucket_policy: access::sharing, PutBucketPolicyInput => PutBucketPolicyOutput;
    get_bucket_policy: access::sharing, GetBucketPolicyInput => GetBucketPolicyOutput;
    delete_bucket_policy: access::sharing, DeleteBucketPolicyInput => DeleteBucketPolicyOutput;
    get_bucket_policy_status: access::sharing, GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput;
    put_public_access_block: access::sharing, PutPublicAccessBlockInput => PutPublicAccessBlockOutput;
    get_public_access_block: access::sharing, GetPublicAccessBlockInput => GetPublicAccessBlockOutput;
    delete_public_access_block: access::sharing, DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput;
    put_bucket_ownership_controls: access::sharing, PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput;
    get_bucket_ownership_controls: access::sharing, GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput;
    delete_bucket_ownership_controls: access::sharing, DeleteBucketOwnershipControlsInput => DeleteBucketOwnershipControlsOutput;
    put_bucket_acl: access::sharing, PutBucketAclInput => PutBucketAclOutput;
    get_bucket_acl: access::sharing, GetBucketAclInput => GetBucketAclOutput;
    put_object_acl: access::sharing, PutObjectAclInput => PutObjectAclOutput;
    get_object_acl: access::sharing, GetObjectAclInput => GetObjectAclOutput;
    get_bucket_logging: buckets::unset, GetBucketLoggingInput => GetBucketLoggingOutput;
    put_bucket_logging: buckets::unset, PutBucketLoggingInput => PutBucketLoggingOutput;
    get_bucket_notification_configuration: buckets::unset, GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput;
    put_bucket_notification_configuration: buckets::unset, PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput;
    get_bucket_accelerate_configuration: buckets::unset, GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput;
    get_bucket_website: buckets::unset, GetBucketWebsiteInput => GetBucketWebsiteOutput;
    delete_bucket_website: buckets::unset, DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput;
    get_bucket_replication: buckets::unset, GetBucketReplicationInput => GetBucketReplicationOutput;
    delete_bucket_replication: buckets::unset, DeleteBucketReplicationInput => DeleteBucketReplicationOutput;
    list_bucket_analytics_configurations: buckets::unset, ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput;
    get_bucket_analytics_configuration: buckets::unset, GetBucketAnalyticsConfigurationInput => GetBucketAnalyticsConfigurationOutput;
    list_bucket_inventory_configurations: buckets::unset, ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput;
    get_bucket_inventory_configuration: buckets::unset, GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput;
    list_bucket_metrics_configurations: buckets::unset, ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput;
    get_bucket_metrics_configuration: buckets::unset, GetBucketMetricsConfigurationInput => GetBucketMetricsConfigurationOutput;
    list_bucket_intelligent_tiering_configurations: buckets::unset, ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput;
    get_bucket_intelligent_tiering_configuration: buckets::unset, GetBucketIntelligentTieringConfigurationInput => GetBucketIntelligentTieringConfigurationOutput;
}
