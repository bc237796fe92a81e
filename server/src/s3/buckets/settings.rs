//! Small settings of a bucket: its tags, and who pays.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::documents::Document;
use crate::s3::AppState;
use crate::s3::access;
use crate::s3::errors::{error, malformed_xml};
use crate::s3::facts::tags::{MOST_OF_BUCKET, Tags};

impl Document for Tags {
    const NAME: &'static str = "tagging";
}

pub(in crate::s3) async fn put_bucket_tagging(
    state: &Arc<AppState>,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let bucket = access::bucket(&request)?;
    let input = request.input;
    let tags = Tags::new(input.tagging.tag_set, MOST_OF_BUCKET)?;
    state.documents.put(&bucket, tags).await?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

pub(in crate::s3) async fn get_bucket_tagging(
    state: &Arc<AppState>,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let bucket = access::bucket(&request)?;
    let tags = state.documents.get::<Tags>(&bucket).await?;
    let tags = tags
        .filter(|tags| !tags.0.is_empty())
        .ok_or_else(|| error(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"))?;
    Ok(S3Response::new(GetBucketTaggingOutput {
        tag_set: tags.to_set(),
    }))
}

pub(in crate::s3) async fn delete_bucket_tagging(
    state: &Arc<AppState>,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let bucket = access::bucket(&request)?;
    state.documents.delete::<Tags>(&bucket).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

/// Nobody is billed, so requesters cannot be made to pay; the owner's own is what can be put.
pub(in crate::s3) async fn put_bucket_request_payment(
    _state: &Arc<AppState>,
    request: S3Request<PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
    let input = request.input;
    match input.request_payment_configuration.payer.as_str() {
        Payer::BUCKET_OWNER => Ok(S3Response::new(PutBucketRequestPaymentOutput::default())),
        Payer::REQUESTER => Err(error(
            S3ErrorCode::NotImplemented,
            "Requester pays is not implemented",
        )),
        _ => Err(malformed_xml()),
    }
}

pub(in crate::s3) async fn get_bucket_request_payment(
    _state: &Arc<AppState>,
    _request: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
    Ok(S3Response::new(GetBucketRequestPaymentOutput {
        payer: Some(Payer::from_static(Payer::BUCKET_OWNER)),
    }))
}
