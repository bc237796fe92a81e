//! Features of buckets that are not here: a bucket answers as one that never used them, so that
//! clients which look before they act can go on. Using them answers NotImplemented.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::s3::AppState;
use crate::s3::errors::error;

/// Declares operations that answer always the same, once access has found the bucket.
macro_rules! answers {
    ($($name:ident: $input:ident => $output:ident, $answer:expr;)*) => {
        $(
            pub(in crate::s3) async fn $name(
                _state: &Arc<AppState>,
                request: S3Request<$input>,
            ) -> S3Result<S3Response<$output>> {
                let input = request.input;
                let answer: S3Result<$output> = $answer(&input);
                answer.map(S3Response::new)
            }
        )*
    };
}

answers! {
    get_bucket_logging: GetBucketLoggingInput => GetBucketLoggingOutput, empty;
    put_bucket_logging: PutBucketLoggingInput => PutBucketLoggingOutput,
        |input: &PutBucketLoggingInput| unused(input.bucket_logging_status.logging_enabled.is_none(), "Server access logging");
    get_bucket_notification_configuration:
        GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, empty;
    put_bucket_notification_configuration:
        PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput,
        |input: &PutBucketNotificationConfigurationInput| {
            unused(input.notification_configuration == NotificationConfiguration::default(), "Event notification")
        };
    get_bucket_accelerate_configuration:
        GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput, empty;
    get_bucket_website: GetBucketWebsiteInput => GetBucketWebsiteOutput,
        |_: &_| Err(error(S3ErrorCode::NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration"));
    delete_bucket_website: DeleteBucketWebsiteInput => DeleteBucketWebsiteOutput, empty;
    get_bucket_replication: GetBucketReplicationInput => GetBucketReplicationOutput,
        |_: &_| Err(error(S3ErrorCode::ReplicationConfigurationNotFoundError, "The replication configuration was not found"));
    delete_bucket_replication: DeleteBucketReplicationInput => DeleteBucketReplicationOutput, empty;
    list_bucket_analytics_configurations:
        ListBucketAnalyticsConfigurationsInput => ListBucketAnalyticsConfigurationsOutput,
        |_: &_| Ok(ListBucketAnalyticsConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
    get_bucket_analytics_configuration:
        GetBucketAnalyticsConfigurationInput => GetBucketAnalyticsConfigurationOutput, |_: &_| Err(no_such_configuration());
    list_bucket_inventory_configurations:
        ListBucketInventoryConfigurationsInput => ListBucketInventoryConfigurationsOutput,
        |_: &_| Ok(ListBucketInventoryConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
    get_bucket_inventory_configuration:
        GetBucketInventoryConfigurationInput => GetBucketInventoryConfigurationOutput, |_: &_| Err(no_such_configuration());
    list_bucket_metrics_configurations:
        ListBucketMetricsConfigurationsInput => ListBucketMetricsConfigurationsOutput,
        |_: &_| Ok(ListBucketMetricsConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
    get_bucket_metrics_configuration:
        GetBucketMetricsConfigurationInput => GetBucketMetricsConfigurationOutput, |_: &_| Err(no_such_configuration());
    list_bucket_intelligent_tiering_configurations:
        ListBucketIntelligentTieringConfigurationsInput => ListBucketIntelligentTieringConfigurationsOutput,
        |_: &_| Ok(ListBucketIntelligentTieringConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
    get_bucket_intelligent_tiering_configuration:
        GetBucketIntelligentTieringConfigurationInput => GetBucketIntelligentTieringConfigurationOutput,
        |_: &_| Err(no_such_configuration());
}

fn empty<I, O: Default>(_: &I) -> S3Result<O> {
    Ok(O::default())
}

/// A configuration that asks for nothing may be put: it is how clients switch something off.
fn unused<O: Default>(is: bool, what: &str) -> S3Result<O> {
    if is {
        Ok(O::default())
    } else {
        Err(error(
            S3ErrorCode::NotImplemented,
            format!("{what} is not implemented"),
        ))
    }
}

fn no_such_configuration() -> S3Error {
    crate::s3::errors::custom(
        http::StatusCode::NOT_FOUND,
        "NoSuchConfiguration",
        "The specified configuration does not exist.",
    )
}
