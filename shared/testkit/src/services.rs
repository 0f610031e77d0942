//! The services of the engine in tests: a world, or parts of their own next to it.

use guard_core::policy::Policy;
use guard_ports::{Listing, Notifier, Registry, RegistryWriter, Repositories, RepositoryWriter, Scanner, Services};

use crate::World;

/// The services of a world, with a registry, a writer or a way to people of a test's own.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a, R = World, W = World, N = World> {
    /// Everything that is not named here.
    pub world: &'a World,
    /// The registry.
    pub registry: &'a R,
    /// The writer of the registry; `None`: nothing can be changed.
    pub writer: Option<&'a W>,
    /// The way to people.
    pub notifier: &'a N,
}

impl World {
    /// The world as a function sees it: where the policy enforces nowhere, nothing can be changed.
    pub fn services(&self, policy: &Policy) -> Parts<'_> {
        self.writing(policy.enforces_anywhere())
    }

    /// The world where everything can be changed, or nothing.
    pub fn writing(&self, writes: bool) -> Parts<'_> {
        Parts {
            world: self,
            registry: self,
            writer: writes.then_some(self),
            notifier: self,
        }
    }
}

impl<R, W, N> Services for Parts<'_, R, W, N>
where
    R: Registry + Scanner + Repositories + Listing + Sync,
    W: RegistryWriter + RepositoryWriter + Sync,
    N: Notifier,
{
    type Registry = R;
    type Elsewhere = World;
    type Writer = W;
    type Backfills = World;
    type Keys = World;
    type Ledger = World;
    type Notifier = N;
    type Queue = World;
    type Clock = World;

    fn registry(&self) -> &R {
        self.registry
    }

    fn elsewhere(&self) -> &World {
        self.world
    }

    fn writer(&self) -> Option<&W> {
        self.writer
    }

    fn backfills(&self) -> Option<&World> {
        self.writer.map(|_| self.world)
    }

    fn keys(&self) -> &World {
        self.world
    }

    fn ledger(&self) -> &World {
        self.world
    }

    fn notifier(&self) -> &N {
        self.notifier
    }

    fn queue(&self) -> &World {
        self.world
    }

    fn clock(&self) -> &World {
        self.world
    }
}

/// Ports of a registry that a test's own one, which has a `world`, leaves to that.
#[macro_export]
macro_rules! as_its_world {
    ($registry:ty: $($port:ident),+) => {
        $($crate::as_its_world!(@$port $registry);)+
    };
    (@Registry $registry:ty) => {
        impl $crate::ports::Registry for $registry {
            async fn image(
                &self,
                repository: &$crate::core::ids::RepositoryName,
                image: &$crate::core::ids::ImageRef,
            ) -> Result<Option<$crate::core::image::Image>, $crate::ports::PortError> {
                self.world.image(repository, image).await
            }

            async fn manifest(
                &self,
                image: &$crate::core::ids::ImageKey,
            ) -> Result<Option<String>, $crate::ports::PortError> {
                self.world.manifest(image).await
            }

            async fn pulled_since(
                &self,
                repository: &$crate::core::ids::RepositoryName,
                since: jiff::Timestamp,
                after: Option<&str>,
            ) -> Result<$crate::ports::Pulled, $crate::ports::PortError> {
                self.world.pulled_since(repository, since, after).await
            }

            async fn repository_policy(
                &self,
                key: &$crate::core::ids::RepositoryKey,
            ) -> Result<Option<String>, $crate::ports::PortError> {
                self.world.repository_policy(key).await
            }

            async fn indexes(
                &self,
                repository: &$crate::core::ids::RepositoryName,
                after: Option<&str>,
            ) -> Result<$crate::ports::Page<$crate::core::ids::Digest>, $crate::ports::PortError> {
                self.world.indexes(repository, after).await
            }

            async fn scan_trigger(
                &self,
                repository: &$crate::core::ids::RepositoryName,
            ) -> Result<Option<$crate::core::finding::ScanTrigger>, $crate::ports::PortError> {
                self.world.scan_trigger(repository).await
            }
        }
    };
    (@Scanner $registry:ty) => {
        impl $crate::ports::Scanner for $registry {
            async fn scan(
                &self,
                image: &$crate::core::ids::ImageKey,
            ) -> Result<$crate::core::finding::Scan, $crate::ports::PortError> {
                $crate::ports::Scanner::scan(self.world, image).await
            }
        }
    };
    (@Repositories $registry:ty) => {
        impl $crate::ports::Repositories for $registry {
            async fn repository(
                &self,
                key: &$crate::core::ids::RepositoryKey,
            ) -> Result<Option<$crate::core::repository::posture::Repository>, $crate::ports::PortError> {
                $crate::ports::Repositories::repository(self.world, key).await
            }

            async fn repository_tags(
                &self,
                key: &$crate::core::ids::RepositoryKey,
            ) -> Result<std::collections::BTreeMap<String, String>, $crate::ports::PortError> {
                $crate::ports::Repositories::repository_tags(self.world, key).await
            }

            async fn lifecycle_policy(
                &self,
                key: &$crate::core::ids::RepositoryKey,
            ) -> Result<Option<String>, $crate::ports::PortError> {
                $crate::ports::Repositories::lifecycle_policy(self.world, key).await
            }

            async fn scan_mode(&self) -> Result<$crate::core::finding::ScanMode, $crate::ports::PortError> {
                $crate::ports::Repositories::scan_mode(self.world).await
            }
        }
    };
    (@Listing $registry:ty) => {
        impl $crate::ports::Listing for $registry {
            async fn repositories(
                &self,
                after: Option<&str>,
            ) -> Result<
                $crate::ports::Page<$crate::core::repository::posture::ListedRepository>,
                $crate::ports::PortError,
            > {
                $crate::ports::Listing::repositories(self.world, after).await
            }

            async fn images(
                &self,
                key: &$crate::core::ids::RepositoryKey,
                after: Option<&str>,
            ) -> Result<Option<$crate::ports::Page<$crate::core::image::ListedImage>>, $crate::ports::PortError> {
                $crate::ports::Listing::images(self.world, key, after).await
            }

            async fn settings(
                &self,
            ) -> Result<$crate::core::registry::RegistrySettings, $crate::ports::PortError> {
                $crate::ports::Listing::settings(self.world).await
            }
        }
    };
}
