//! Lists of AWS, page by page.

use guard_aws::answer::next_page;
use guard_ports::PortError;

use crate::run::Time;

/// A page of a list, and where the next one begins.
pub(crate) type Page<T> = (Vec<T>, Result<Option<String>, PortError>);

/// Reads a list to its end. With a failure, the result has the pages before it; a lack of time is one.
pub(crate) async fn pages<T, F: Future<Output = Page<T>>>(
    time: &Time,
    operation: &'static str,
    read: impl Fn(Option<String>) -> F,
) -> (Vec<T>, Option<PortError>) {
    let (all, failure, _) = pages_from(time, operation, None, read).await;
    (all, failure)
}

/// The same from a page on. With a failure, the result also has the page from which the list must be read on.
pub(crate) async fn pages_from<T, F: Future<Output = Page<T>>>(
    time: &Time,
    operation: &'static str,
    mut after: Option<String>,
    read: impl Fn(Option<String>) -> F,
) -> (Vec<T>, Option<PortError>, Option<String>) {
    let mut all = Vec::new();
    loop {
        if let Err(failure) = time.left(operation) {
            return (all, Some(failure), after);
        }
        let (items, next) = read(after.clone()).await;
        all.extend(items);
        match next.and_then(|next| next_page(operation, after.as_deref(), next)) {
            Ok(None) => return (all, None, None),
            Ok(next) => after = next,
            Err(failure) => return (all, Some(failure), after),
        }
    }
}
