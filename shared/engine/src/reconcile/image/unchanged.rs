//! Images whose periodic turn it is in a sweep, and of which nothing has changed: each costs one call to the scanner, and all of them one to the
//! ledger.

use futures_util::future::join_all;

use super::{
    ahead::{Ahead, OwnRows},
    boxed::boxed,
    image_run::ImageRun,
    outcome::Outcome,
    pages::Spent,
    request::Request,
    together::AT_ONCE,
};
use guard_core::{
    ids::{ImageKey, ImageRef},
    image::Image,
    ledger::Row,
    policy::Policy,
};
use guard_ports::{Ledger as _, Services};

/// The results of those images of which a reconcile would leave everything as it is; a list has just shown them. `None`: it is to be reconciled,
/// because there is something to do, or because that cannot be said by these few calls. Nothing is changed or written.
pub async fn unchanged(services: &impl Services, policy: &Policy, seen: &[(Request, Image)]) -> Vec<Option<Outcome>> {
    let spent = Spent::default();
    let runs: Vec<ImageRun<'_, _>> = seen
        .iter()
        .map(|(request, image)| ImageRun {
            services,
            policy,
            key: request.key(image.digest.clone()),
            hints: request.hints.clone(),
            actor: &request.actor,
            spent: &spent,
            index: None,
        })
        .collect();
    let keys: Vec<ImageKey> = runs.iter().map(|run| run.key.clone()).collect();
    let Ok(rows) = services.ledger().rows_of(&keys).await else {
        return vec![None; seen.len()];
    };
    let all: Vec<_> = runs.iter().zip(seen).zip(rows).collect();
    let mut left = Vec::new();
    for some in all.chunks(AT_ONCE) {
        let scans = some.iter().map(|((run, (request, image)), row)| async move {
            let is_this = request.image == ImageRef::Digest(image.digest.clone());
            let row = row.as_ref().filter(|row| is_this && is_by_itself(row))?;
            Some((*run, image, row, run.scan().await))
        });
        let scans = join_all(scans).await;
        let is_trouble = |scan: &Option<(_, _, _, Result<_, _>)>| scan.as_ref().is_some_and(|scan| scan.3.is_err());
        let in_trouble = scans.iter().any(is_trouble);
        let looks = scans.into_iter().map(|scanned| async move {
            let (run, image, row, scan) = scanned?;
            let ahead = Ahead {
                image: Some(image.clone()),
                scan,
                rows: OwnRows {
                    row: Some(row.clone()),
                    source: None,
                },
                index: None,
                answers: None,
            };
            // Boxed, because all of it is waited for at the same time.
            boxed(|| run.left_with(ahead)).await
        });
        left.extend(join_all(looks).await);
        if in_trouble {
            // The others are reconciled one by one, which ends where it must.
            break;
        }
    }
    left.resize(seen.len(), None);
    left
}

/// Whether an image has no relatives, as far as known, and nothing that was begun.
fn is_by_itself(row: &Row) -> bool {
    let has_relatives = !row.indexes.is_empty() || row.more_indexes || !row.children.is_empty() || row.source.is_some();
    let is_begun = row.block.as_ref().is_some_and(|block| !block.confirmed);
    row.closed_at.is_none() && !has_relatives && !is_begun
}
