//! Everything that reconciling needs of the world, by one name.

use crate::{
    AlertLedger, Clock, Keys, Ledger, Listing, Notifier, Queue, Registry, RegistryWriter, ReleaseLedger, Replication,
    ReplicationLedger, ReplicationWriter, Repositories, RepositoryLedger, RepositoryWriter, Scanner, SweepLedger,
    UseLedger,
};

/// The services that a function of Lambda, or a test, hands to the engine.
///
/// An accessor may build what it gives when it is called first. A function that never calls one has nothing of it in its binary: on a scan
/// event nobody asks for keys, so `on-scan` has no client of KMS.
pub trait Services: Sync {
    /// The registry, to read, with its scanner.
    type Registry: Registry + Scanner + Repositories + Listing + Sync;
    /// Registries in other regions, to read.
    type Elsewhere: Replication + Sync;
    /// Changes the registry.
    type Writer: RegistryWriter + RepositoryWriter + Sync;
    /// Starts backfills.
    type Backfills: ReplicationWriter + Sync;
    /// Keys of KMS.
    type Keys: Keys + Sync;
    /// The memory of everything.
    type Ledger: Ledger
        + RepositoryLedger
        + SweepLedger
        + ReplicationLedger
        + AlertLedger
        + UseLedger
        + ReleaseLedger
        + Sync;
    /// The way to people.
    type Notifier: Notifier;
    /// The queues of the workers.
    type Queue: Queue + Sync;
    /// The time.
    type Clock: Clock + Sync;

    /// The registry, to read, with its scanner.
    fn registry(&self) -> &Self::Registry;

    /// Registries in other regions, to read.
    fn elsewhere(&self) -> &Self::Elsewhere;

    /// The writer of the registry; `None` where the policy enforces nowhere. It is not used on a repository that the policy
    /// only reports on.
    fn writer(&self) -> Option<&Self::Writer>;

    /// The starter of backfills; `None` where the policy enforces nowhere. It is not used for a repository that the policy only
    /// reports on.
    fn backfills(&self) -> Option<&Self::Backfills>;

    /// Keys of KMS.
    fn keys(&self) -> &Self::Keys;

    /// The ledger.
    fn ledger(&self) -> &Self::Ledger;

    /// The topics.
    fn notifier(&self) -> &Self::Notifier;

    /// The queues of the workers.
    fn queue(&self) -> &Self::Queue;

    /// The time.
    fn clock(&self) -> &Self::Clock;
}
