//! The content of an item of the queue.

use super::{
    enqueue::enqueue_repositories,
    error::Failures,
    images::{ImageLook, Progress},
    looks::Looks,
    repository::Part,
    worker::Worker,
};
use guard_core::{
    ids::{Digest, RepositoryKey, RepositoryName},
    work::Work,
};
use guard_ports::Services;

impl<S: Services> Worker<'_, S> {
    /// Does what an item says.
    ///
    /// Work that cannot be done is in the failures; the rest is done. Where a row cannot be read, nothing is left in the queue:
    /// the next sweep finds it again.
    pub async fn work(&self, work: &Work) -> (Looks, Failures) {
        let (mut looks, mut failures) = self.carry_out(work).await;
        if matches!(work, Work::Repository { .. } | Work::Images { .. }) {
            let hopeless = failures.extract_if(.., |error| error.is_unreadable_row());
            looks.handed_on.extend(hopeless);
        }
        (looks, failures)
    }

    async fn carry_out(&self, work: &Work) -> (Looks, Failures) {
        let sweep = self.sweep;
        let of = |repository: &RepositoryName| RepositoryKey {
            account: sweep.registry.account.clone(),
            region: sweep.registry.region.clone(),
            repository: repository.clone(),
        };
        match work {
            Work::Repositories { after } => {
                let after = Some(after.clone());
                // Few registries have this number of repositories: the rest of them is reconciled in full.
                match enqueue_repositories(self.services, self.services.registry(), sweep, None, after).await {
                    Ok((enqueued, handed_on)) => {
                        let looks = Looks {
                            repositories: enqueued.repositories,
                            // Reading the list again would not make it readable; the next sweep tries.
                            handed_on,
                            ..Looks::default()
                        };
                        (looks, Failures::new())
                    }
                    Err(error) => (Looks::default(), vec![error]),
                }
            }
            Work::Repository {
                repository,
                after,
                again,
                copies,
                listed,
                waited,
            } => {
                let part = Part {
                    after: after.clone(),
                    again: *again,
                    copies: *copies,
                    listed: listed.as_deref().cloned(),
                    waited: *waited,
                };
                self.look_at_repository(&of(repository), part).await
            }
            Work::Images {
                repository,
                digests,
                indexes_read: _,
                indexes_read_at,
            } => {
                let look = |digest: &Digest| ImageLook::found(digest.clone(), *indexes_read_at);
                let images = digests.iter().map(look).collect();
                self.look_at_images(&of(repository), images, Progress::None).await
            }
            Work::Findings { repository, images } => {
                let images = images.iter().cloned().map(ImageLook::from).collect();
                self.look_at_images(&of(repository), images, Progress::None).await
            }
        }
    }
}
