//! What earlier runs saw, so that it is not asked for again.

use guard_core::uses::{KnownImages, WorkloadSource};

/// What the names of everything begin with that is known of a list.
pub(crate) fn prefix(source: &WorkloadSource) -> String {
    format!("{}/{}/", source.kind, source.account)
}

/// What was known of a list, and what of that is still of use.
pub(crate) struct Remembered<'a> {
    before: &'a KnownImages,
    prefix: String,
    now: KnownImages,
}

impl<'a> Remembered<'a> {
    pub(crate) fn new(before: &'a KnownImages, prefix: String) -> Self {
        Self {
            before,
            prefix,
            now: KnownImages::default(),
        }
    }

    /// What was known of something before. It is kept.
    pub(crate) fn take(&mut self, name: &str) -> Option<Vec<String>> {
        let name = format!("{}{name}", self.prefix);
        let images = self.before.get(&name).or_else(|| self.now.get(&name))?.to_vec();
        self.now.insert(name, images.clone());
        Some(images)
    }

    /// Something has this from now on.
    pub(crate) fn put(&mut self, name: &str, images: Vec<String>) {
        self.now.insert(format!("{}{name}", self.prefix), images);
    }

    /// All that is to be kept. Of a list that was not seen to its end, all that was known: the rest of it is of use as well.
    pub(crate) fn keep(self, complete: bool) -> KnownImages {
        if complete {
            return self.now;
        }
        let mut known = self.before.only(&[self.prefix]);
        known.extend(self.now);
        known
    }
}
