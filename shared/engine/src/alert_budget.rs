//! Alerts within the budget of their topic, and the hourly summary of the others.

use jiff::Timestamp;

use guard_core::{
    alert::{
        Message,
        brief::BriefAlert,
        budget::{Budget, Slot},
        summary::AlertSummary,
    },
    ids::{RegistryKey, TopicArn},
    policy::Policy,
};
use guard_ports::{AlertLedger, Clock, Notifier, PortError, Retry, Services};

/// A way to people that keeps to a budget.
#[derive(Debug)]
pub struct BudgetedNotifier<'a, N, L, C> {
    topics: &'a N,
    ledger: &'a L,
    clock: &'a C,
    budget: Budget,
}

impl<'a, N, L, C> BudgetedNotifier<'a, N, L, C> {
    /// Publishes through `topics`, counts and keeps in `ledger`.
    pub fn new(topics: &'a N, ledger: &'a L, clock: &'a C, policy: &Policy) -> Self {
        Self {
            topics,
            ledger,
            clock,
            budget: policy.alerts,
        }
    }
}

impl<N: Notifier + Sync, L: AlertLedger + Sync, C: Clock + Sync> Notifier for BudgetedNotifier<'_, N, L, C> {
    async fn publish(&self, topic: &TopicArn, message: &Message) -> Result<String, PortError> {
        self.topics.publish(topic, message).await
    }

    /// If counting fails, the alert is sent by itself: one message too many is better than one too few.
    async fn slot(&self, alert: &BriefAlert) -> Slot {
        let now = self.clock.now();
        let slot = self.ledger.take_slot(&alert.registry, &alert.topic, self.budget, now);
        slot.await.unwrap_or(Slot::Single)
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "the lifetimes of an `async fn` are not those of the trait"
    )]
    fn tell<'a>(
        &'a self,
        slot: Slot,
        alert: &'a BriefAlert,
        message: &'a Message,
    ) -> impl Future<Output = Result<(), PortError>> + Send + 'a {
        async move {
            match slot {
                Slot::Single => self.topics.publish(&alert.topic, message).await.map(|_| ()),
                Slot::Summary => self.ledger.keep_alert(alert).await,
            }
        }
    }
}

/// The most pages of kept alerts that a sweep reads: some 10,000 alerts of a megabyte a page. The next sweep reads the others.
const MAX_PAGES: usize = 10;

/// The summaries that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summaries {
    /// How many.
    pub sent: u64,
    /// How many alerts they name.
    pub alerts: u64,
}

/// Sends each topic one summary of its kept alerts, and forgets what it names. A topic that refuses for good, because it is gone, has its
/// alerts named to the default topic.
///
/// # Errors A call failed. Alerts that were not named are kept for the next sweep; those that were named and could not be
/// deleted are named again.
pub async fn send_summaries(
    services: &impl Services,
    policy: &Policy,
    registry: &RegistryKey,
    now: Timestamp,
) -> Result<Summaries, PortError> {
    let (ledger, notifier) = (services.ledger(), services.notifier());
    let (mut kept, mut error) = (Vec::new(), None);
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let page = ledger.kept_alerts(registry, after.as_deref()).await?;
        kept.extend(page.items);
        error = error.or(page.unreadable.into_iter().next());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // The sort key begins with the topic: those of one topic stand together.
    let mut topics: Vec<Vec<BriefAlert>> = Vec::new();
    for alert in kept {
        match topics.last_mut() {
            Some(alerts) if alerts.first().is_some_and(|first| first.topic == alert.topic) => alerts.push(alert),
            _ => topics.push(vec![alert]),
        }
    }
    let mut summaries = Summaries::default();
    for alerts in topics {
        let Some(topic) = alerts.first().map(|alert| alert.topic.clone()) else {
            continue;
        };
        let Some((message, named)) = AlertSummary::of(alerts, now).map(|summary| summary.message(&policy.contact))
        else {
            continue;
        };
        let published = match notifier.publish(&topic, &message).await {
            Err(refused) if refused.retry == Retry::Never && topic != *policy.default_topic() => {
                notifier.publish(policy.default_topic(), &message).await
            }
            published => published,
        };
        let done = match published {
            Ok(_) => {
                summaries.sent += 1;
                summaries.alerts += named.len() as u64;
                ledger.forget_alerts(&named).await
            }
            Err(failed) => Err(failed),
        };
        // The other topics may be all right.
        error = error.or(done.err());
    }
    match error {
        Some(error) => Err(error),
        None => Ok(summaries),
    }
}

#[cfg(test)]
mod tests;
