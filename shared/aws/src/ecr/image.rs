//! An image as ECR describes it, in our words.

use aws_sdk_ecr::types::{ImageDetail, ImageStatus as EcrImageStatus};

use crate::{answer::timestamp, error::plain};
use guard_core::{
    ids::InvalidId,
    image::{Image, ImageStatus},
};

/// An image of ECR in our words; or why ECR does not even name it.
pub(super) fn described(detail: ImageDetail) -> Result<Image, String> {
    let digest = detail.image_digest().ok_or("it has no digest")?;
    Ok(Image {
        digest: digest.parse().map_err(|error: InvalidId| error.to_string())?,
        // The API takes longer tags than the registry protocol. Such a tag must not keep an image from being evaluated.
        tags: detail.image_tags().iter().filter_map(|tag| tag.parse().ok()).collect(),
        status: detail
            .image_status
            .as_ref()
            .map_or_else(|| ImageStatus::Other("missing".to_owned()), status),
        pushed_at: detail.image_pushed_at.as_ref().and_then(timestamp),
        last_pulled_at: detail.last_recorded_pull_time.as_ref().and_then(timestamp),
        last_activated_at: detail.last_activated_at.as_ref().and_then(timestamp),
        // An unreadable subject is none: without one an entry is an image, and is evaluated.
        subject: detail.subject_manifest_digest().and_then(|digest| digest.parse().ok()),
        manifest_media_type: detail.image_manifest_media_type,
        artifact_media_type: detail.artifact_media_type,
    })
}

pub(super) fn status(status: &EcrImageStatus) -> ImageStatus {
    match status {
        EcrImageStatus::Active => ImageStatus::Active,
        EcrImageStatus::Archived => ImageStatus::Archived,
        EcrImageStatus::Activating => ImageStatus::Activating,
        other => ImageStatus::Other(plain(other.as_str(), 64)),
    }
}
