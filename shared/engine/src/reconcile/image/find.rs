//! Which image a tag names.

use crate::reconcile::{ReconcileError, Subject};
use guard_core::ids::{Digest, ImageRef, RepositoryName};
use guard_ports::{Registry as _, Services};

/// The digest of an image of a repository; `None`: the repository has no such tag. A digest is not asked about.
///
/// # Errors
/// The call failed.
pub(super) async fn digest(
    services: &impl Services,
    repository: &RepositoryName,
    image: &ImageRef,
) -> Result<Option<Digest>, ReconcileError> {
    if let ImageRef::Digest(digest) = image {
        return Ok(Some(digest.clone()));
    }
    let found = services.registry().image(repository, image).await;
    let found = found.map_err(|source| {
        let named = Subject::Image(format!("{repository}{image}"));
        ReconcileError::port("find", named, source)
    })?;
    Ok(found.map(|image| image.digest))
}
