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
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        if let Err(failure) = time.left(operation) {
            return (all, Some(failure));
        }
        let (items, next) = read(after.clone()).await;
        all.extend(items);
        match next.and_then(|next| next_page(operation, after.as_deref(), next)) {
            Ok(None) => return (all, None),
            Ok(next) => after = next,
            Err(failure) => return (all, Some(failure)),
        }
    }
}
