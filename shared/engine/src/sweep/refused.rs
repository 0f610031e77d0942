//! Reads and releases that fail for want of a permission, and calls that keep failing, remembered for all workers.

use super::{error::SweepError, worker::Worker};
use crate::reconcile::{FINDINGS, ReconcileError};
use guard_core::{
    ids::{Digest, RepositoryKey, RepositoryName},
    registry::{
        RegistryRow,
        access::{MAX_CAUSES, MAX_NAMED, RefusedAccess},
        failing::FailingCall,
    },
};
use guard_ports::{PortError, Retry, Services, SweepLedger as _, Written};

/// How often the registry's row is written anew if others wrote it in between.
const MAX_ATTEMPTS: usize = 6;

/// The error that another worker met, as far as it is known.
pub(super) fn denied(known: &RefusedAccess) -> PortError {
    PortError {
        retry: Retry::Never,
        operation: FINDINGS,
        code: "AccessDeniedException".to_owned(),
        message: known.message(),
        request_id: None,
    }
}

impl<S: Services> Worker<'_, S> {
    /// The reads that are refused, as far as other workers have found out. Only sweeps ask: an event is about one image.
    pub(super) async fn refused_access(&self, is_sweep: bool) -> Result<Vec<RefusedAccess>, SweepError> {
        if !is_sweep {
            return Ok(Vec::new());
        }
        let row = self.services.ledger().registry_row(&self.sweep.registry).await;
        let row = row.map_err(|source| SweepError::port("look up what may not be read", source))?;
        Ok(row.map(|row| row.refused).unwrap_or_default())
    }

    /// Remembers that findings may not be read, and how many images wait for it.
    pub(super) async fn note_refused(&self, refused: &PortError, waiting: Vec<String>) -> Result<(), SweepError> {
        let images = waiting.len() as u64;
        if images == 0 {
            return Ok(());
        }
        let found = RefusedAccess {
            images,
            first: waiting.into_iter().take(MAX_NAMED).collect(),
            ..RefusedAccess::read(refused.operation, &refused.message, self.sweep.began)
        };
        self.change_refused(|known| {
            let has_room = known.len() < MAX_CAUSES;
            match known.iter_mut().find(|known| known.is_same(&found)) {
                Some(known) => known.add(found.clone()),
                None if has_room => known.push(found.clone()),
                None => {}
            }
        })
        .await
    }

    /// Remembers what could not be undone, by the permission that was lacking.
    pub(super) async fn note_lacking(&self, lacking: &[(String, PortError)]) -> Result<(), SweepError> {
        let mut causes: Vec<(&PortError, Vec<String>)> = Vec::new();
        for (image, lacks) in lacking {
            let is_same = |known: &PortError| {
                let read = |error: &PortError| RefusedAccess::read(error.operation, &error.message, self.sweep.began);
                read(known).is_same(&read(lacks))
            };
            match causes.iter_mut().find(|(known, _)| is_same(known)) {
                Some((_, images)) => images.push(image.clone()),
                None => causes.push((lacks, vec![image.clone()])),
            }
        }
        for (lacks, images) in causes {
            self.note_refused(lacks, images).await?;
        }
        Ok(())
    }

    /// Findings can be read again, at least those of this repository.
    pub(super) async fn forget_refused(&self, repository: &RepositoryName) -> Result<(), SweepError> {
        let is_over = |known: &RefusedAccess| !known.is_of_one_repository() || known.is_about(repository);
        self.change_refused(|known| {
            known.retain(|known| known.sweep >= self.sweep.began || !known.is_of_findings() || !is_over(known));
        })
        .await
    }

    async fn change_refused(&self, change: impl Fn(&mut Vec<RefusedAccess>)) -> Result<(), SweepError> {
        self.change_registry(|row| change(&mut row.refused)).await
    }

    async fn change_registry(&self, change: impl Fn(&mut RegistryRow)) -> Result<(), SweepError> {
        let sweep = self.sweep;
        let failed = |source| SweepError::port("remember what cannot be read", source);
        for _ in 0..MAX_ATTEMPTS {
            let row = self
                .services
                .ledger()
                .registry_row(&sweep.registry)
                .await
                .map_err(failed)?;
            let mut row = row.unwrap_or_else(|| RegistryRow::new(sweep.registry.clone()));
            let before = row.clone();
            change(&mut row);
            if row == before {
                return Ok(());
            }
            row.generation += 1;
            if self.services.ledger().write_registry_row(&row).await.map_err(failed)? == Written::Yes {
                return Ok(());
            }
        }
        // Others write at the same time: then some images are not counted. The missing permission is known all the same.
        Ok(())
    }

    /// The call that has kept an image from being reconciled.
    pub(super) fn failing(&self, key: &RepositoryKey, digest: &Digest, error: &SweepError) -> Option<FailingCall> {
        let (SweepError::Reconcile(ReconcileError::Port { source, .. }) | SweepError::Port { source, .. }) = error
        else {
            return None;
        };
        let image = format!("{}@{digest}", key.repository);
        Some(FailingCall::new(
            source.operation,
            &source.code,
            self.sweep.began,
            vec![image],
        ))
    }

    /// Remembers which calls fail, and how many images wait for them. If that fails as well, the next failing reconcile writes
    /// it.
    pub(super) async fn note_failing(&self, found: Vec<FailingCall>) {
        if found.is_empty() {
            return;
        }
        let noted = self.change_registry(|row| {
            for found in &found {
                let has_room = row.failing.len() < MAX_CAUSES;
                match row.failing.iter_mut().find(|known| known.is_same(found)) {
                    Some(known) => known.add(found.clone()),
                    None if has_room => row.failing.push(found.clone()),
                    None => {}
                }
            }
        });
        drop(noted.await);
    }
}
