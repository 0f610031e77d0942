//! Lists of AWS, page by page.

use guard_aws::answer::next_page;
use guard_ports::PortError;

/// A page of a list, and where the next one begins.
pub(crate) type Page<T> = (Vec<T>, Result<Option<String>, PortError>);

/// Reads a list to its end. Beside a failure stands what was read before.
pub(crate) async fn pages<T, F: Future<Output = Page<T>>>(
    operation: &'static str,
    read: impl Fn(Option<String>) -> F,
) -> (Vec<T>, Option<PortError>) {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (items, next) = read(after.clone()).await;
        all.extend(items);
        match next.and_then(|next| next_page(operation, after.as_deref(), next)) {
            Ok(None) => return (all, None),
            Ok(next) => after = next,
            Err(failure) => return (all, Some(failure)),
        }
    }
}
