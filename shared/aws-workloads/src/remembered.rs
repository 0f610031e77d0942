//! The results of earlier runs, so that they are not asked for again.

use guard_core::uses::{KnownImages, WorkloadSource};

/// The prefix of the names of all known facts of a list.
pub(crate) fn prefix(source: &WorkloadSource) -> String {
    format!("{}/{}/", source.kind, source.account)
}

/// The known facts of a list, and those that are still of use.
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

    /// The known fact of that name. It is kept only if something else asks for it.
    pub(crate) fn look(&self, name: &str) -> Option<&'a [String]> {
        self.before.get(&format!("{}{name}", self.prefix))
    }

    /// The known fact of that name. It is kept.
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

    /// All facts to keep. For a list that was not read to its end, all known ones: the rest of them is of use as well.
    pub(crate) fn keep(self, complete: bool) -> KnownImages {
        if complete {
            return self.now;
        }
        let mut known = self.before.only(&[self.prefix]);
        known.extend(self.now);
        known
    }
}
