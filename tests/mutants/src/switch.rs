
/// Whether this mutant is the one that the environment chooses. Where `MUTANTS_REACHED` names a file, each test notes there which mutants it
/// comes by, and how long it takes.
pub(crate) fn mutant(number: u32) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<u32>> =
        std::sync::LazyLock::new(|| std::env::var("MUTANT").ok()?.parse().ok());
    static REACHED: std::sync::LazyLock<Option<std::ffi::OsString>> =
        std::sync::LazyLock::new(|| std::env::var_os("MUTANTS_REACHED"));
    struct Test {
        name: String,
        began: std::time::Instant,
        reached: std::collections::BTreeSet<u32>,
    }
    impl Drop for Test {
        fn drop(&mut self) {
            let Some(file) = &*REACHED else { return };
            let name = &self.name;
            let mut lines = format!("time\t{name} {}\n", self.began.elapsed().as_secs_f32());
            lines.extend(self.reached.iter().map(|number| format!("{number}\t{name}\n")));
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
            std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
        }
    }
    thread_local! {
        static TEST: std::cell::RefCell<Test> =
            std::cell::RefCell::new(Test {
                name: std::thread::current().name().unwrap_or("?").to_owned(),
                began: std::time::Instant::now(),
                reached: std::collections::BTreeSet::new(),
            });
    }
    if REACHED.is_some() {
        TEST.with_borrow_mut(|test| test.reached.insert(number));
    }
    *CHOSEN == Some(number)
}

/// An iterator of the mutants, or the function's own.
#[derive(Clone)]
pub(crate) enum Switched<V, O> {
    Value(V),
    Own(O),
}

impl<O: Iterator, V: Iterator<Item = O::Item>> Iterator for Switched<V, O> {
    type Item = O::Item;

    fn next(&mut self) -> Option<O::Item> {
        match self {
            Self::Value(value) => value.next(),
            Self::Own(own) => own.next(),
        }
    }
}
