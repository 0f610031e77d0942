//! Several images of a repository at once.

use futures_util::future::try_join_all;

use guard_core::{
    ids::{Digest, ImageRef, RepositoryName},
    image::Image,
};
use guard_ports::{PortError, Registry};

/// The most images that are asked for at the same time.
const AT_ONCE: usize = 50;

/// Images by their digests, in that order; `None`: there is no such image.
pub(crate) async fn images_of(
    registry: &impl Registry,
    repository: &RepositoryName,
    digests: impl Iterator<Item = &Digest>,
) -> Result<Vec<Option<Image>>, PortError> {
    let refs: Vec<ImageRef> = digests.cloned().map(ImageRef::Digest).collect();
    let mut images = Vec::new();
    for some in refs.chunks(AT_ONCE) {
        images.extend(try_join_all(some.iter().map(|image| registry.image(repository, image))).await?);
    }
    Ok(images)
}
